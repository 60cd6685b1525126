//! `insula demo`: five users at once on shared infrastructure, and afterwards the proof that nobody met anybody.
//!
//! What is shown while they run comes from their event streams, one reader for each. What is said at the end is counted
//! afterwards, in the log, the factories and the metrics.

mod cast;
mod evidence;
mod stage;
mod verdict;

use std::path::{Path, PathBuf};

use insula_context::Canceller;

use super::Desk;
use crate::{
    cli::DemoArgs,
    config::{Database, Settings},
    exit::{Kind, Stop},
    interrupt::Interrupt,
    wiring,
};

/// Plays it, and succeeds only if everything holds.
pub(super) async fn demo(desk: &Desk<'_>, args: DemoArgs) -> Result<(), Stop> {
    // From here on nothing is left behind, whenever somebody interrupts.
    let (interrupt, stop) = (Interrupt::listen()?, Canceller::new());
    let place = Place::new(args.keep)?;
    let settings = place.settings(&desk.settings);
    let cast = cast::invent(args.rows, &settings, &stop)?;
    if !desk.output.json {
        desk.output.note(format!("{} users on one database, each with a file of {} rows", cast.len(), args.rows));
    }
    let factory = wiring::factory(&settings).await?;
    let played = stage::play(desk, &factory, &cast, (interrupt, stop)).await?;
    if played.interrupted {
        return Err(Stop::new(Kind::Interrupted, "the runs were cancelled"));
    }
    let evidence = evidence::gather(&factory, &settings, &cast, &played).await?;
    drop(factory);
    let verdict = verdict::of(&evidence, &cast);
    verdict::print(desk, &evidence, &verdict, place.kept.as_deref())?;
    if place.kept.is_none() && !desk.output.json {
        desk.output.note("nothing of it is left; --keep DIR keeps the database and the reports");
    }
    if verdict.holds() { Ok(()) } else { Err(Stop::failed(verdict.complaint())) }
}

/// Where the demo keeps its things.
struct Place {
    folder: PathBuf,
    kept: Option<PathBuf>,
    /// Deletes the folder when it is dropped.
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn new(keep: Option<PathBuf>) -> Result<Self, Stop> {
        match keep {
            Some(folder) => {
                refuse_used(&folder)?;
                wiring::make_private(&folder)?;
                Ok(Self { folder: folder.clone(), kept: Some(folder), _temporary: None })
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("insula-demo-").tempdir().map_err(|error| {
                    Stop::new(Kind::Storage, "no temporary folder can be made")
                        .because(error)
                        .advise("name a folder with --keep")
                })?;
                Ok(Self { folder: temporary.path().to_owned(), kept: None, _temporary: Some(temporary) })
            }
        }
    }

    /// The configured limits, on storage of the demo's own.
    fn settings(&self, configured: &Settings) -> Settings {
        let database = Database::File(self.folder.join("insula.db"));
        Settings { data_dir: self.folder.clone(), database, redis: None, ..configured.clone() }
    }
}

/// Runs of an earlier demo would be counted as well.
fn refuse_used(folder: &Path) -> Result<(), Stop> {
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(
            Stop::usage(format!("{} is not empty", folder.display())).advise("name a folder that is new or empty")
        );
    }
    Ok(())
}
