//! The words that labels are made of.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpLabels {
    pub route: String,
    pub method: &'static str,
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub kind: &'static str,
}

/// A method that a client made up is not a word of ours.
pub(super) fn method_word(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    METHODS.into_iter().find(|known| *known == method).unwrap_or("other")
}

pub(super) fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$variant_about:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_about])* $variant,)*
        }

        impl $name {
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// What was sent over a socket.
    Frame {
        /// The next event of a subscription.
        Event = "event",
        /// A command was done.
        Ack = "ack",
        /// A command was not done.
        Error = "error",
        /// A reader is told of a gap.
        Gap = "gap",
        /// The answer to a ping.
        Pong = "pong",
    }
}

words! {
    /// Why a reader was told of a gap.
    GapReason {
        /// It has fallen behind, and reads on from the log.
        Behind = "behind",
        /// Events are not kept any more.
        NotKept = "not_kept",
    }
}

words! {
    /// Why a caller was refused. Callers themselves are not told.
    AuthRefusal {
        /// No credential.
        Missing = "missing",
        /// A credential that is none, or not worth anything.
        Invalid = "invalid",
        /// A ticket that is used up, or none.
        Ticket = "ticket",
        /// A role or an access that does not allow it.
        Role = "role",
        /// An origin that is not ours.
        Origin = "origin",
    }
}

words! {
    /// Who came too often.
    RateLimited {
        /// A user.
        User = "user",
        /// An address, by its requests or by credentials that were refused.
        Address = "address",
    }
}

impl From<crate::wire::GapReason> for GapReason {
    fn from(reason: crate::wire::GapReason) -> Self {
        match reason {
            crate::wire::GapReason::Behind => Self::Behind,
            crate::wire::GapReason::NotKept => Self::NotKept,
        }
    }
}
