//! One transaction for all that is queued, and what a run costs.

use insula_infra::{Error, RunStatus};

use crate::support::{at, create, end, folder, header, run, scope, thread, whole};

#[tokio::test]
async fn a_pure_run_is_one_commit_and_a_run_with_an_effect_is_two() {
    let folder = folder();
    let sqlite = at(&folder).open().expect("opens");
    let queue = sqlite.clone().into_backend().queue;
    queue.append(whole(&header("ada", "t", "pure"))).await.expect("appends");
    assert_eq!((sqlite.stats().commits, sqlite.stats().appends), (1, 1));
    let effect = header("ada", "t", "effect");
    queue.append(create(&effect, Vec::new())).await.expect("appends");
    queue.append(end(&effect, 0)).await.expect("appends");
    assert_eq!((sqlite.stats().commits, sqlite.stats().appends), (3, 3));
}

#[tokio::test]
async fn what_is_queued_together_is_committed_together() {
    let folder = folder();
    let sqlite = at(&folder).open().expect("opens");
    let backend = sqlite.clone().into_backend();
    let headers: Vec<_> = (0..1_000).map(|n| header("ada", "t", &format!("r-{n}"))).collect();
    let commits: Vec<_> = headers.iter().map(|header| backend.queue.append(whole(header))).collect();
    for (n, commit) in commits.into_iter().enumerate() {
        assert_eq!(commit.await.expect("commits").head, 2 * (n as u64 + 1));
    }
    let stats = sqlite.stats();
    assert_eq!(stats.appends, 1_000);
    assert!(stats.commits < 500, "{stats:?}");
}

#[tokio::test]
async fn a_refusal_leaves_its_neighbours_alone_and_nothing_of_itself() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let (first, second) = (header("ada", "t", "1"), header("ada", "t", "2"));
    let again = header("ada", "elsewhere", "1");
    let commits = [&first, &again, &second].map(|header| backend.queue.append(whole(header)));
    let [kept, refused, after] = commits;
    assert_eq!(kept.await.expect("commits").head, 2);
    assert!(matches!(refused.await, Err(Error::RunExists { .. })));
    assert_eq!(after.await.expect("commits").head, 4);
    let elsewhere = backend.runs.run(&scope("ada"), &run("1")).await.expect("reads").expect("there");
    assert_eq!((elsewhere.header.thread.as_str(), elsewhere.status), ("t", RunStatus::Completed));
    assert!(backend.log.thread_events(&scope("ada"), &thread("elsewhere"), 0, 9).await.expect("reads").is_none());
}

#[tokio::test]
async fn two_writers_on_one_file_do_not_overwrite_each_other() {
    let folder = folder();
    let (one, other) = (at(&folder).open().expect("opens"), at(&folder).open().expect("opens"));
    let (one, other) = (one.into_backend(), other.into_backend());
    for n in 0..20 {
        let queue = if n % 2 == 0 { &one.queue } else { &other.queue };
        queue.append(whole(&header("ada", "t", &format!("r-{n}")))).await.expect("commits");
    }
    let page = one.log.thread_events(&scope("ada"), &thread("t"), 0, 100).await.expect("reads").expect("there");
    assert_eq!((page.head, page.events.len()), (40, 40));
    let runs = other.runs.runs(&scope("ada"), &Default::default(), &Default::default()).await.expect("reads");
    assert_eq!(runs.items.len(), 20);
}
