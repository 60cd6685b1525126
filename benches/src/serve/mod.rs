//! The server: the real binary on SQLite with `synchronous=FULL`, and clients on the same machine, so what it is given of the
//! two cores is what they leave.

mod http;
mod process;
mod socket;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::{
    http::Client,
    process::{Started, memory},
    socket::Socket,
};
use crate::report::{Report, Target};

/// One run that calls one tool, waited for.
const ONE_TOOL: (&str, &str) = ("/v1/runs?wait=30s", r#"{"agent":"count","input":1}"#);

pub(crate) fn measure(report: &mut Report, insula: &Path, time: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    cold(report, insula)?;
    runtime.block_on(async {
        rates(report, insula, time).await?;
        idle(report, insula).await?;
        live(report, insula).await?;
        latency(report, insula).await
    })
}

fn cold(report: &mut Report, insula: &Path) -> Result<()> {
    const TIMES: usize = 9;
    report.section("server: start to ready, with a new database");
    let (mut millis, mut resident) = (Vec::new(), 0.0_f64);
    for _ in 0..TIMES {
        let server = Started::new(insula)?;
        millis.push(server.ready_after.as_secs_f64() * 1e3);
        resident = resident.max(memory(server.id())?);
    }
    millis.sort_by(f64::total_cmp);
    report.figure("start to ready, median", millis[TIMES / 2], "ms", Target::AtMost(100.0));
    report.figure("resident when ready", resident, "MB", Target::AtMost(30.0));
    Ok(())
}

/// Sorted latencies in milliseconds.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * percent / 100.0).round() as usize).copied().unwrap_or(f64::NAN)
}

async fn rates(report: &mut Report, insula: &Path, time: Duration) -> Result<()> {
    report.section("server: POST /v1/runs?wait of a one-tool run, SQLite FULL");
    for (clients, least) in [(1, 450.0), (100, 3_000.0), (1_000, 4_000.0)] {
        let server = Started::new(insula)?;
        let (rate, sorted) = load(&server, clients, time).await?;
        report.figure(format!("{clients} clients"), rate, "runs/s", Target::AtLeast(least));
        let p50 = if clients == 1 { Target::AtMost(2.5) } else { Target::None };
        report.figure(format!("{clients} clients: P50"), percentile(&sorted, 50.0), "ms", p50);
        report.figure(format!("{clients} clients: P99"), percentile(&sorted, 99.0), "ms", Target::None);
        report.figure(format!("{clients} clients: resident"), memory(server.id())?, "MB", Target::None);
    }
    Ok(())
}

async fn load(server: &Started, clients: usize, time: Duration) -> Result<(f64, Vec<f64>)> {
    let mut waiting = Vec::new();
    for _ in 0..clients {
        let mut client = Client::connect(server.address, &server.key).await?;
        waiting.push(tokio::spawn(async move {
            // Once for each, so that connections and threads are there.
            client.post(ONE_TOOL.0, ONE_TOOL.1).await?;
            let (began, mut took) = (Instant::now(), Vec::new());
            while began.elapsed() < time {
                let asked = Instant::now();
                let (status, body) = client.post(ONE_TOOL.0, ONE_TOOL.1).await?;
                anyhow::ensure!(status == 200, "{status} {body}");
                took.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            Ok((began.elapsed(), took))
        }));
    }
    let (mut sorted, mut longest) = (Vec::new(), Duration::ZERO);
    for client in waiting {
        let (elapsed, took) = client.await??;
        longest = longest.max(elapsed);
        sorted.extend(took);
    }
    sorted.sort_by(f64::total_cmp);
    Ok((sorted.len() as f64 / longest.as_secs_f64(), sorted))
}

async fn idle(report: &mut Report, insula: &Path) -> Result<()> {
    const SOCKETS: usize = 5_000;
    report.section("server: open sockets that say nothing");
    let server = Started::new(insula)?;
    let mut sockets = Vec::with_capacity(SOCKETS);
    for _ in 0..SOCKETS {
        sockets.push(Socket::open(server.address, &server.key).await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    report.figure("5,000 sockets: resident", memory(server.id())?, "MB", Target::AtMost(150.0));
    Ok(())
}

fn chat(thread: &str, events: u64, pause_ms: f64) -> String {
    json!({"agent": "chatty", "thread_id": thread, "input": {"events": events, "pause_ms": pause_ms}}).to_string()
}

async fn live(report: &mut Report, insula: &Path) -> Result<()> {
    const SOCKETS: usize = 1_000;
    const EVENTS: u64 = 3_000;
    report.section("server: 1,000 sockets on one thread, events as they happen");
    let server = Started::new(insula)?;
    let mut readers = Vec::new();
    for _ in 0..SOCKETS {
        let mut socket = Socket::open(server.address, &server.key).await?;
        socket.subscribe("live").await?;
        readers.push(tokio::spawn(async move { socket.until_the_end().await.map(|events| events.len()) }));
    }
    let mut client = Client::connect(server.address, &server.key).await?;
    let began = Instant::now();
    client.post("/v1/runs", &chat("live", EVENTS, 1.0)).await?;
    let mut frames = 0;
    for reader in readers {
        frames += reader.await??;
    }
    let rate = frames as f64 / began.elapsed().as_secs_f64();
    report.figure("frames of all together", rate, "frames/s", Target::AtLeast(300_000.0));
    report.figure("resident afterwards", memory(server.id())?, "MB", Target::None);
    Ok(())
}

async fn latency(report: &mut Report, insula: &Path) -> Result<()> {
    report.section("server: append to frame, at 1,000 events/s");
    let server = Started::new(insula)?;
    let alone = watched(&server, "alone").await?;
    report.figure("P50", percentile(&alone, 50.0), "ms", Target::None);
    report.figure("P99", percentile(&alone, 99.0), "ms", Target::AtMost(5.0));
    // One who subscribes to everything and reads nothing.
    let mut stalled = Socket::open(server.address, &server.key).await?;
    stalled.subscribe("beside").await?;
    let beside = watched(&server, "beside").await?;
    report.figure("P99 beside a reader that reads nothing", percentile(&beside, 99.0), "ms", Target::AtMost(5.0));
    drop(stalled);
    Ok(())
}

/// From each event's own time to its frame, in milliseconds, sorted.
async fn watched(server: &Started, thread: &str) -> Result<Vec<f64>> {
    const EVENTS: u64 = 5_000;
    let mut socket = Socket::open(server.address, &server.key).await?;
    socket.subscribe(thread).await?;
    let mut client = Client::connect(server.address, &server.key).await?;
    client.post("/v1/runs", &chat(thread, EVENTS, 1.0)).await?;
    let events = socket.until_the_end().await?;
    let mut took: Vec<f64> = events.iter().map(|(event, at)| at - stamp(event).unwrap_or(*at)).collect();
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// An event's time, in milliseconds of its minute: enough to be subtracted from.
fn stamp(event: &Value) -> Result<f64> {
    let text = event["timestamp"].as_str().context("an event has a timestamp")?;
    let seconds = text.rsplit(':').next().context("a time")?.trim_end_matches('Z').parse::<f64>()?;
    Ok(seconds * 1e3)
}
