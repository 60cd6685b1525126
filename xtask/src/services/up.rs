//! `cargo xtask services up`: the servers for a session of one's own, until Ctrl-C.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Disk, Outcome, Server, Services, was_interrupted};
use crate::tools::{self, Tool};
use crate::verdict::Verdict;

/// How often it is looked whether the servers still run and whether anybody wants them.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    /// With the port of each; 0 is a free one.
    tools: Vec<(Tool, u16)>,
    disk: Disk,
}

pub(crate) fn up(words: &[&str]) -> Result<Verdict> {
    let wish = Wish::read(words)?;
    let missing = tools::missing(&wish.tools.iter().map(|(tool, _)| *tool).collect::<Vec<_>>())?;
    if !missing.is_empty() {
        let names = tools::names(&missing);
        bail!(
            "not run: {names} cannot be found, and cannot be installed from here; install it, or ask for --without {names}"
        );
    }
    let mut services = Services::default();
    for (tool, port) in wish.tools {
        services.start(tool, port, wish.disk)?;
    }
    println!("\nUntil Ctrl-C; in another terminal:\n");
    for (name, value) in &services.variables {
        println!("export {name}={value}");
    }
    keep(services)
}

fn keep(mut services: Services) -> Result<Verdict> {
    while !was_interrupted() {
        if services.servers.iter_mut().try_for_each(Server::still_runs).is_err() {
            // Says which one, and where it wrote why.
            services.end(Outcome::Badly)?;
            return Ok(Verdict::default());
        }
        thread::sleep(LOOK);
    }
    println!("\nstopping");
    // This is how it was to end.
    drop(services);
    Ok(Verdict::default())
}

impl Wish {
    /// `--without redis`, `--ports 55432,56379` in the order of the services, `--durable`.
    fn read(words: &[&str]) -> Result<Self> {
        let (mut without, mut ports, mut disk) = (Vec::new(), Vec::new(), Disk::Quick);
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--durable" => disk = Disk::Durable,
                "--without" => without = tools::parse(words.next().context("--without what?")?)?,
                "--ports" => ports = read_ports(words.next().context("--ports wants 55432,56379")?)?,
                _ => bail!("`{word}` is nothing that `services up` knows: --without, --ports, --durable"),
            }
        }
        let wanted: Vec<Tool> = Tool::SERVICES.into_iter().filter(|tool| !without.contains(tool)).collect();
        ensure!(!wanted.is_empty(), "without {} there is nothing to start", tools::names(&without));
        ensure!(ports.len() <= wanted.len(), "{} ports for {}", ports.len(), tools::names(&wanted));
        let ports = ports.into_iter().chain(std::iter::repeat(0));
        Ok(Self { tools: wanted.into_iter().zip(ports).collect(), disk })
    }
}

fn read_ports(list: &str) -> Result<Vec<u16>> {
    list.split(',').map(|port| port.parse().with_context(|| format!("`{port}` is no port"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_both_are_started_on_free_ports() {
        let tools = vec![(Tool::Postgres, 0), (Tool::Redis, 0)];
        assert_eq!(Wish::read(&[]).unwrap(), Wish { tools, disk: Disk::Quick });
    }

    #[test]
    fn what_is_wished_is_read() {
        let wish = Wish::read(&["--without", "redis", "--ports", "55432", "--durable"]).unwrap();
        assert_eq!(wish, Wish { tools: vec![(Tool::Postgres, 55432)], disk: Disk::Durable });
        for wrong in [&["--ports", "x"][..], &["--ports", "1,2,3"], &["--without", "postgres,redis"], &["--whatever"]] {
            assert!(Wish::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
