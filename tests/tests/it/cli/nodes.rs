//! Several processes `insula serve` on one Postgres and one Redis: what one of them takes, each of them shows, and what one
//! of them leaves, another carries on.

use std::{path::Path, time::Duration};

use insula_test_services::{Postgres, Redis};
use rustix::process::Signal;
use serde_json::Value;

use super::harness::{Desk, Said};
use crate::{server::process::Process, support::until};

/// Never shown, wherever the address is.
const PASSWORD: &str = "hush";

/// A database with its schema, a Redis, and a folder to start processes in.
struct Cluster {
    desk: Desk,
    postgres: Postgres,
    redis: Redis,
}

impl Cluster {
    async fn new(name: &str) -> Self {
        let cluster = Self { desk: Desk::new(), postgres: Postgres::fresh(name).await, redis: Redis::fresh() };
        cluster.desk.ok(&["migrate", "--set", &cluster.database(), "--set", &cluster.owner()]);
        cluster
    }

    /// As the role that processes log in as.
    fn database(&self) -> String {
        let url = self.postgres.url();
        let (_, server) = url.split_once('@').expect("tests log in as a superuser");
        format!("database=postgres://insula_app:{PASSWORD}@{server}")
    }

    fn owner(&self) -> String {
        format!("database_owner={}", self.postgres.url())
    }

    /// A command that is done here, on the database of the cluster.
    fn here(&self, arguments: &[&str]) -> Said {
        self.desk.ok(&[&["--set", &self.database()], arguments].concat())
    }

    /// A node, when it listens.
    fn node(&self, name: &str, settings: &[&str]) -> Node {
        self.node_with(name, &format!("redis={}", self.redis.url()), settings)
    }

    fn node_with(&self, name: &str, redis: &str, settings: &[&str]) -> Node {
        let folder = self.desk.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        let prefix = format!("redis_prefix={}", self.redis.prefix());
        let (database, node) = (self.database(), format!("node={name}"));
        let own = [database.as_str(), redis, &prefix, &node];
        Node { process: start(&folder, &[&own, settings].concat()), name: name.to_owned() }
    }

    /// Three of them, started at once, and the one key that they made.
    fn three(&self, settings: &[&str]) -> (Vec<Node>, String) {
        let nodes: Vec<Node> = std::thread::scope(|scope| {
            let starting = ["a", "b", "c"].map(|name| scope.spawn(move || self.node(name, settings)));
            starting.into_iter().map(|node| node.join().unwrap()).collect()
        });
        let keys: Vec<_> = nodes.iter().filter_map(|node| node.process.key.clone()).collect();
        let [key] = &keys[..] else { panic!("{} keys were shown", keys.len()) };
        (nodes, key.clone())
    }

    /// Who holds a run, by what the nodes say of themselves.
    fn holder(&self) -> Option<String> {
        let nodes: Value = serde_json::from_str(&self.here(&["nodes", "--json"]).out).unwrap();
        let holds = nodes["items"].as_array().unwrap().iter().find(|node| node["runs"] != 0)?;
        Some(holds["worker"].as_str().unwrap().to_owned())
    }

    /// Takes the node that holds the run out of these.
    async fn take_holder(&self, nodes: &mut Vec<Node>) -> Node {
        let mut held_by = None;
        until("somebody holds the run", || {
            held_by = self.holder();
            held_by.is_some()
        })
        .await;
        let worker = held_by.unwrap();
        let place = nodes.iter().position(|node| worker.starts_with(&format!("{}-", node.name)));
        nodes.remove(place.unwrap_or_else(|| panic!("{worker} is none of them")))
    }
}

fn start(folder: &Path, settings: &[&str]) -> Process {
    Process::start_at(folder, "127.0.0.1:0", settings)
}

struct Node {
    process: Process,
    name: String,
}

impl Node {
    /// A command that this node does.
    fn does(&self, desk: &Desk, key: &str, arguments: &[&str]) -> Said {
        desk.ok(&[&["--server", &self.process.url, "--key", key], arguments].concat())
    }

    fn submits(&self, desk: &Desk, key: &str, arguments: &[&str]) -> String {
        self.does(desk, key, &[&["submit"], arguments].concat()).out.trim().to_owned()
    }

    /// The types of the events of a run, which is followed to its end.
    fn follows(&self, desk: &Desk, key: &str, run: &str) -> Vec<String> {
        let told = self.does(desk, key, &["tail", run, "--follow", "--json"]).lines();
        told.iter().filter_map(|event| event["type"].as_str()).map(str::to_owned).collect()
    }
}

fn count(told: &[String], kind: &str) -> usize {
    told.iter().filter(|told| *told == kind).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_takes_every_node_shows() {
    let cluster = Cluster::new("shown").await;
    let (nodes, key) = cluster.three(&[]);
    let run = nodes[0].submits(&cluster.desk, &key, &["sleep", "500"]);
    let told = nodes[1].follows(&cluster.desk, &key, &run);
    assert_eq!((count(&told, "agent_started"), told.last().map(String::as_str)), (1, Some("agent_completed")));
    assert_eq!(nodes[2].follows(&cluster.desk, &key, &run), told);
    assert!(cluster.here(&["runs"]).out.contains("completed"), "the database is everybody's");
    let listed = nodes[2].does(&cluster.desk, &key, &["nodes"]).out;
    for name in ["a-", "b-", "c-"] {
        assert_eq!(listed.lines().filter(|line| line.trim_start().starts_with(name)).count(), 1, "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_node_held_is_carried_on_by_another() {
    let cluster = Cluster::new("killed").await;
    let (mut nodes, key) = cluster.three(&["limits.lease=1s"]);
    let run = nodes[0].submits(&cluster.desk, &key, &["sleep", "3000"]);
    cluster.take_holder(&mut nodes).await.process.kill();
    let told = nodes[0].follows(&cluster.desk, &key, &run);
    assert_eq!((count(&told, "agent_started"), count(&told, "agent_resumed")), (1, 1), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("agent_completed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_to_end_hands_over_before_its_lease_has_run_out() {
    let cluster = Cluster::new("handed").await;
    let (mut nodes, key) = cluster.three(&["limits.lease=10m", "serve.drain=200ms"]);
    let run = nodes[0].submits(&cluster.desk, &key, &["sleep", "3000"]);
    let leaving = cluster.take_holder(&mut nodes).await.process;
    leaving.signal(Signal::TERM);
    let (status, last) = leaving.ended(Duration::from_secs(20)).await;
    assert_eq!((status.code(), last["left"].as_u64()), (Some(0), Some(1)), "{last}");
    // Not within the lease of ten minutes, which nobody waits for here.
    let told = nodes[0].follows(&cluster.desk, &key, &run);
    assert_eq!((count(&told, "agent_started"), count(&told, "agent_resumed")), (1, 1), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("agent_completed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_a_node_is_degraded_and_works() {
    let cluster = Cluster::new("alone").await;
    // Nothing listens there.
    let node = cluster.node_with("a", "redis=redis://127.0.0.1:1", &[]);
    let key = node.process.key.clone().expect("the first key");
    let answer = reqwest::get(format!("{}/readyz", node.process.url)).await.unwrap();
    let status = answer.status().as_u16();
    let says: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((status, &says["status"]), (200, &Value::from("degraded")), "{says}");
    let shown = says.to_string();
    assert!(!shown.contains("127.0.0.1"), "where it is, is the operator's: {shown}");
    let run = node.submits(&cluster.desk, &key, &["echo", "salve"]);
    assert_eq!(node.follows(&cluster.desk, &key, &run).last().map(String::as_str), Some("agent_completed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_looked_at_made_and_never_made_by_whoever_serves() {
    let desk = Desk::new();
    let cluster = Cluster { desk: Desk::new(), postgres: Postgres::fresh("schema").await, redis: Redis::fresh() };
    let (database, owner) = (cluster.database(), cluster.owner());
    let migrate = |more: &[&str]| desk.insula(&[&["migrate", "--set", &database, "--set", &owner], more].concat());
    let pending = migrate(&["--check"]);
    assert_eq!(pending.code, Some(1), "{}{}", pending.out, pending.err);
    desk.insula(&["serve", "--set", &database]).refused(4, &["insula migrate"]);
    assert_eq!(migrate(&[]).code, Some(0));
    assert_eq!(migrate(&["--check"]).code, Some(0));
    for said in [pending, migrate(&[]), desk.insula(&["config", "--set", &database]), cluster.here(&["doctor"])] {
        assert!(!said.out.contains(PASSWORD) && !said.err.contains(PASSWORD), "{}{}", said.out, said.err);
    }
}
