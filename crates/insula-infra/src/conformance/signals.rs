//! Rules of news: of the own threads, and only of what can be read.

use serde_json::json;

use super::{
    Subject,
    subject::{soon, thread},
};
use crate::EventType;

/// News of a thread does not reach the namesake of another user.
pub async fn tells_other_users_nothing(subject: Subject) {
    for other in subject.others() {
        let mut theirs = subject.backend.signals.watch(&other, &thread("t"));
        subject.backend.signals.advanced(&subject.ada(), &thread("t"), 7);
        subject.backend.signals.advanced(&other, &thread("t"), 3);
        assert_eq!(soon("news", theirs.changed()).await, 3, "{other} heard of what was not theirs");
    }
}

/// Whoever listens is told how far a thread has grown, and not of other threads.
pub async fn tells_listeners_how_far_a_thread_has_grown(subject: Subject) {
    let ada = subject.ada();
    let signals = &subject.backend.signals;
    let (mut one, mut two) = (signals.watch(&ada, &thread("t")), signals.watch(&ada, &thread("t")));
    let mut elsewhere = signals.watch(&ada, &thread("elsewhere"));
    signals.advanced(&ada, &thread("t"), 4);
    signals.advanced(&ada, &thread("elsewhere"), 1);
    assert_eq!((soon("news", one.changed()).await, soon("news", two.changed()).await), (4, 4));
    assert_eq!(soon("news", elsewhere.changed()).await, 1);
}

/// An append is told of without anybody's help.
pub async fn tells_of_every_append(subject: Subject) {
    let ada = subject.ada();
    let mut news = subject.backend.signals.watch(&ada, &thread("t"));
    let mut writer = subject.start(&ada, "t", "r").await;
    assert_eq!(soon("news of the start", news.changed()).await, 1);
    writer.say(&[1, 2]).await;
    assert_eq!(soon("news of two events", news.changed()).await, 3);
    writer.end().await;
    assert_eq!(soon("news of the end", news.changed()).await, 4);
}

/// An event can be read before anyone is told of it.
pub async fn tells_only_of_what_can_be_read(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    for n in 0..20 {
        let mut news = subject.backend.signals.watch(&ada, &thread("t"));
        let event = subject.event(EventType::AgentThinking, &json!(n));
        let commit = writer.send(writer.append(vec![event], None));
        writer.after += 1;
        let told = soon("news", news.changed()).await;
        let page = subject.backend.log.thread_events(&ada, &thread("t"), 0, 99).await.expect("the log answers");
        let read = page.expect("the thread is there").head;
        assert!(read >= told, "a reader was told of event {told} when there were {read}");
        soon("the commit", commit).await.expect("the event is durable");
    }
}
