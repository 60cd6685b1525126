//! Three users with a planted secret each, and the search for it wherever the other two can look.

use futures::future::join_all;

use super::{
    cast::{Person, cast, with_the_cast},
    search::{Sight, search},
};
use crate::support::{Island, captured, on_every_backend};

on_every_backend! {
    async fn iso_3_no_secret_of_one_user_reaches_another(island: Island) {
        let has_database = island.ports().database.is_some();
        let sights = tell(island).await;
        let leaks: Vec<String> = sights.iter().flat_map(Sight::leaks).collect();
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
        // The net holds only if everybody finds what is their own in it.
        for place in ["event", "result", "state", "cache", "payload", "run", "error"] {
            assert_eq!(sights.iter().filter(|sight| sight.finds_own_in(place)).count(), 3, "nothing seen in: {place}");
        }
        assert_eq!(sights.iter().filter(|sight| sight.finds_own_in("row")).count(), if has_database { 3 } else { 0 });
    }

    async fn iso_3_the_operators_log_knows_secrets_from_their_owners_panics_alone(island: Island) {
        captured();
        tracing::info!("canary-0 shows that somebody listens");
        let sights = tell(island).await;
        let lines = captured();
        assert!(lines.iter().any(|line| line.contains("canary-0 shows")), "nobody listened");
        for sight in &sights {
            let told: Vec<&String> = lines.iter().filter(|line| line.contains(&sight.person.secret)).collect();
            for line in &told {
                assert!(line.contains("reason=\"panic\""), "the log tells a secret: {line}");
                assert!(sight.runs.iter().any(|run| line.contains(run.as_str())), "a line of nobody's run: {line}");
            }
            assert_eq!(told.len(), 1, "one panic of {}, and {told:?}", sight.person.scope);
        }
    }
}

/// Everybody lives, then everybody pries, all at once. They are cleaned up, and then each looks at everything.
pub(super) async fn tell(island: Island) -> Vec<Sight> {
    captured();
    let island = with_the_cast(island);
    let people = cast(&island);
    for person in &people {
        person.live(&island).await;
    }
    let said = join_all(people.iter().map(|person| person.pry(&island, &people))).await;
    for person in &people {
        island.factory().clean_up_user(&person.scope);
    }
    let mut sights = Vec::new();
    for (person, said) in people.iter().zip(said) {
        sights.push(search(&island, person, &people, said).await);
    }
    sights
}

/// The other two.
pub(super) fn others<'a>(person: &'a Person, people: &'a [Person]) -> impl Iterator<Item = &'a Person> {
    people.iter().filter(|other| other.scope != person.scope)
}
