//! Tickets: how a browser, which cannot send a header with a WebSocket, brings its credential along. A ticket is 256 random
//! bits, is good once and for 30 seconds, and is known to this process alone.

use std::{collections::VecDeque, fmt, time::Duration};

use insula_context::{Timestamp, UserScope};

use super::{
    principal::Principal,
    secret::{self, Secret},
};

/// How long a ticket can be redeemed.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that wait to be redeemed, at most: of one user, and of all. Beyond that the oldest one goes.
const OF_ONE_USER: usize = 16;
const OF_ALL: usize = 4_096;

/// A ticket that has just been made.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// What to redeem.
    pub text: Secret,
    /// It is worth nothing from this time on.
    pub expires_at: Timestamp,
}

struct Issued {
    hash: secret::Hash,
    expires_at: Timestamp,
    principal: Principal,
}

/// The tickets that wait to be redeemed, oldest first. There are few: most are redeemed at once.
#[derive(Default)]
pub(super) struct Tickets(VecDeque<Issued>);

impl Tickets {
    pub(super) fn issue(&mut self, principal: &Principal, now: Timestamp) -> Ticket {
        self.make_room(&principal.scope, now);
        let text = secret::random_text();
        let expires_at = now.plus(LIFETIME);
        self.0.push_back(Issued { hash: secret::hash(&text), expires_at, principal: principal.clone() });
        Ticket { text: Secret::new(text), expires_at }
    }

    fn make_room(&mut self, scope: &UserScope, now: Timestamp) {
        self.0.retain(|issued| issued.expires_at > now);
        let of_user = self.0.iter().filter(|issued| issued.principal.scope == *scope).count();
        let oldest_of_user = self.0.iter().position(|issued| issued.principal.scope == *scope);
        if of_user >= OF_ONE_USER
            && let Some(oldest) = oldest_of_user
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= OF_ALL {
            self.0.pop_front();
        }
    }

    /// Takes the ticket, which is gone then, whatever its principal is still worth.
    pub(super) fn redeem(&mut self, text: &str, now: Timestamp) -> Option<Principal> {
        let hash = secret::hash(text);
        let at = self.0.iter().position(|issued| secret::same(&issued.hash, &hash))?;
        self.0.remove(at).filter(|issued| issued.expires_at > now).map(|issued| issued.principal)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tickets", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{principal_of, scope_of};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (mut tickets, ada) = (Tickets::default(), principal_of("ada"));
        let ticket = tickets.issue(&ada, at(0));
        assert_eq!(tickets.redeem("something else", at(0)), None);
        assert_eq!(tickets.redeem(ticket.text.expose(), at(29)), Some(ada));
        assert_eq!(tickets.redeem(ticket.text.expose(), at(29)), None);
    }

    #[test]
    fn a_ticket_is_worth_nothing_after_half_a_minute() {
        let mut tickets = Tickets::default();
        let ticket = tickets.issue(&principal_of("ada"), at(0));
        assert_eq!(ticket.expires_at, at(30));
        assert_eq!(tickets.redeem(ticket.text.expose(), at(30)), None);
    }

    #[test]
    fn who_asks_for_many_loses_their_own_oldest_and_nobody_elses() {
        let (mut tickets, ada, bob) = (Tickets::default(), principal_of("ada"), principal_of("bob"));
        let of_bob = tickets.issue(&bob, at(0));
        let of_ada: Vec<_> = (0..=OF_ONE_USER).map(|_| tickets.issue(&ada, at(0))).collect();
        assert_eq!(tickets.0.len(), OF_ONE_USER + 1);
        assert_eq!(tickets.redeem(of_ada[0].text.expose(), at(1)), None);
        assert_eq!(tickets.redeem(of_ada[1].text.expose(), at(1)).map(|p| p.scope), Some(scope_of("ada")));
        assert_eq!(tickets.redeem(of_bob.text.expose(), at(1)), Some(bob));
    }

    #[test]
    fn no_more_than_a_bounded_number_is_kept() {
        let mut tickets = Tickets::default();
        for n in 0..OF_ALL + 10 {
            tickets.issue(&principal_of(&format!("u{n}")), at(0));
        }
        assert_eq!(tickets.0.len(), OF_ALL);
        tickets.issue(&principal_of("ada"), at(30));
        assert_eq!(tickets.0.len(), 1);
    }

    #[test]
    fn a_ticket_is_not_printed() {
        let mut tickets = Tickets::default();
        let ticket = tickets.issue(&principal_of("ada"), at(0));
        let shown = format!("{ticket:?} {tickets:?}");
        assert!(!shown.contains(ticket.text.expose()), "{shown}");
    }
}
