//! Rules of parked runs and runs that are given back: what wakes them, and that nothing is lost between.

use std::time::Duration;

use serde_json::json;

use super::{
    Subject,
    story::{names, run, stop},
};
use crate::{Error, EventType, RunChange, RunStatus, WaitFor};

/// The end of another user's run wakes nobody, whomever it calls its parent.
pub async fn wakes_the_parent_of_its_owner_only(subject: Subject) {
    let mut parent = subject.start(&subject.ada(), "t", "parent").await;
    subject.start_child(&subject.ada(), "t", "child", "parent").await;
    parent.park_for(&["child"], None).await;
    for (n, other) in subject.others().into_iter().enumerate() {
        let mut child = subject.start_child(&other, "t", &format!("child-{n}"), "parent").await;
        child.end().await;
        assert!(subject.claim("w", 9).await.is_empty(), "{other} woke a run of {}", subject.ada());
    }
}

/// A parked parent is handed out when its child has ended, however it ended.
pub async fn wakes_a_parent_when_its_child_has_ended(subject: Subject) {
    let ada = subject.ada();
    for end in ["well", "stopped"] {
        let (parent, child) = (format!("parent-{end}"), format!("child-{end}"));
        let mut writer = subject.start(&ada, "t", &parent).await;
        let mut children = subject.start_child(&ada, "t", &child, &parent).await;
        writer.park_for(&[&child], None).await;
        children.say(&[1]).await;
        assert!(subject.claim("w", 9).await.is_empty(), "a parent was woken before its child had ended");
        if end == "well" {
            children.end().await
        } else {
            children.obey(stop("enough")).await
        }
        let (mut awake, claimed) = subject.claim_one("w").await;
        assert_eq!((claimed.lease.header.run.as_str(), claimed.run.status), (parent.as_str(), RunStatus::Waiting));
        awake.end().await;
    }
}

/// The child may end between the parent's last look and its parking: the parent is handed out at once.
pub async fn does_not_sleep_behind_a_child_that_has_ended(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    subject.start_child(&ada, "t", "goes-on", "parent").await;
    subject.start_child(&ada, "t", "ended", "parent").await.end().await;
    parent.park_for(&["goes-on", "ended"], None).await;
    assert_eq!(subject.claim_names("w", 9).await, ["parent"]);
}

/// The children of a run that has ended are asked to stop: by whoever stopped it, or because it is over.
pub async fn stops_the_children_of_a_run_that_has_ended(subject: Subject) {
    let ada = subject.ada();
    for (name, why) in [("completed", "the run that it was started by is over"), ("stopped", "enough")] {
        let mut parent = subject.start(&ada, "t", name).await;
        let (parked, held) = (format!("{name}-parked"), format!("{name}-held"));
        let mut sleeper = subject.start_child(&ada, "t", &parked, name).await;
        sleeper.park(None).await;
        let mut busy = subject.start_child(&ada, "t", &held, name).await;
        subject.start_child(&ada, "t", &format!("{name}-ended"), name).await.end().await;
        assert!(subject.claim("w", 9).await.is_empty(), "a child was stopped before its parent had ended");
        if name == "completed" {
            parent.end().await
        } else {
            parent.obey(stop(why)).await
        }
        let (mut awake, claimed) = subject.claim_one("w").await;
        let asked = |record: &crate::RunRecord| record.cancel.as_ref().map(|reason| reason.why.clone());
        assert_eq!((claimed.lease.header.run.as_str(), asked(&claimed.run)), (&*parked, Some(why.to_owned())));
        assert_eq!(asked(&subject.record(&ada, &held).await), Some(why.to_owned()));
        awake.obey(stop(why)).await;
        busy.obey(stop(why)).await;
    }
}

/// A child that is not there any more has ended: nobody waits for it for ever.
pub async fn does_not_sleep_behind_a_child_that_is_gone(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    subject.start_child(&ada, "elsewhere", "gone", "parent").await.end().await;
    subject.backend.runs.delete_thread(&ada, &super::subject::thread("elsewhere")).await.expect("it goes");
    parent.park_for(&["gone"], None).await;
    assert_eq!(subject.claim_names("w", 9).await, ["parent"]);
}

/// The end of a child is no news to a parent that runs, and hands it out to nobody else.
pub async fn leaves_a_running_parent_to_its_holder(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    subject.start_child(&ada, "t", "child", "parent").await.end().await;
    assert!(subject.claim("w", 9).await.is_empty(), "a held run was handed out");
    parent.say(&[1]).await;
    parent.end().await;
}

/// A parent that was woken by its child is not woken again by its alarm.
pub async fn forgets_the_alarm_of_a_woken_parent(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    let mut child = subject.start_child(&ada, "t", "child", "parent").await;
    parent.park_for(&["child"], Some(subject.now().plus(Duration::from_secs(10)))).await;
    child.end().await;
    let (mut awake, _) = subject.claim_one("w").await;
    awake.park(None).await;
    subject.pass(1_000);
    assert!(subject.claim("w", 9).await.is_empty(), "an old alarm went off");
}

/// Children that end at the same time wake their parent once.
pub async fn wakes_a_parent_once_under_concurrency(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    let ids: Vec<_> = (0..8).map(|n| format!("child-{n}")).collect();
    let mut children = tokio::task::JoinSet::new();
    let mut writers = Vec::new();
    for id in &ids {
        writers.push(subject.start_child(&ada, "t", id, "parent").await);
    }
    for mut writer in writers {
        children.spawn(async move { writer.end().await });
    }
    parent.park_for(&ids.iter().map(String::as_str).collect::<Vec<_>>(), None).await;
    children.join_all().await;
    assert_eq!(names(&subject.claim("w", 9).await), ["parent"]);
    assert!(subject.claim("w", 9).await.is_empty(), "it was handed out twice");
}

/// A record says what its run waits for while it is parked, and no longer.
pub async fn says_what_a_run_waits_for(subject: Subject) {
    let ada = subject.ada();
    for reason in WaitFor::ALL {
        let id = format!("r-{}", reason.as_str());
        let mut writer = subject.start(&ada, "t", &id).await;
        assert_eq!(subject.record(&ada, &id).await.waits_for, None);
        let change = RunChange::Waiting { reason, until: Some(subject.now()), children: Vec::new() };
        writer.write(Vec::new(), Some(change)).await.expect("the run is parked");
        assert_eq!(subject.record(&ada, &id).await.waits_for, Some(reason));
        let (mut writer, claimed) = subject.claim_one("w").await;
        assert_eq!((claimed.run.status, claimed.run.waits_for), (RunStatus::Waiting, Some(reason)));
        writer.go_on().await;
        assert_eq!(subject.record(&ada, &id).await.waits_for, None);
        writer
            .write(Vec::new(), Some(RunChange::Waiting { reason, until: None, children: Vec::new() }))
            .await
            .expect("the store answers");
        subject.backend.runs.request_cancel(&ada, &run(&id), stop("enough")).await.expect("the store answers");
        let (mut writer, _) = subject.claim_one("w").await;
        writer.obey(stop("enough")).await;
        assert_eq!(subject.record(&ada, &id).await.waits_for, None, "an ended run waits for nothing");
    }
}

/// A run that its worker gives back is handed out at once, as it stood, and the old lease is worth nothing.
pub async fn hands_out_what_is_given_back(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.say(&[1]).await;
    writer.write(Vec::new(), Some(RunChange::HandedOver)).await.expect("it is given back");
    assert_eq!(subject.status(&ada, "r").await, RunStatus::Running);
    let refused = writer.try_say(&[2]).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    let (mut next, claimed) = subject.claim_one("another").await;
    assert_eq!((claimed.lease.token, claimed.run.status, claimed.run.events), (2, RunStatus::Running, 2));
    next.end().await;
}

/// A queued run that was claimed and given back before it began is still queued.
pub async fn keeps_the_status_of_what_is_given_back(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    subject.line_up(&ada, "t", "b").await;
    let (mut writer, _) = subject.claim_one("w").await;
    let event = subject.event(EventType::AgentQueued, &json!({}));
    writer.write(vec![event], Some(RunChange::HandedOver)).await.expect("it is given back");
    assert_eq!(subject.status(&ada, "a").await, RunStatus::Queued);
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!(
        (claimed.lease.header.run.clone(), claimed.lease.token),
        (run("a"), 2),
        "the next in the thread still waits"
    );
}

/// What is given back is held no more.
pub async fn what_is_given_back_is_not_held(subject: Subject) {
    subject.line_up(&subject.ada(), "t", "r").await;
    let claimed = subject.claim_under("w", 9, 1).await;
    let mut writer = subject.writer(claimed[0].lease.clone(), 0);
    writer.write(Vec::new(), Some(RunChange::HandedOver)).await.expect("it is given back");
    assert_eq!(names(&subject.claim_under("another", 9, 1).await), ["r"]);
}
