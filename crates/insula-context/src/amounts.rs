//! How much of each thing that costs something. Agents report it, stores keep it, engines hold it against a limit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of each thing. The same shape says what is allowed, reserved and spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Tokens of models.
    pub tokens: u64,
    /// Money, in millionths of the installation's currency.
    pub money: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Bytes of results.
    pub bytes: u64,
    /// Time of work, in milliseconds.
    pub millis: u64,
}

/// One of the things that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of models.
    Tokens,
    /// Millionths of the installation's currency.
    Money,
    /// Calls of tools.
    ToolCalls,
    /// Bytes of results.
    Bytes,
    /// Milliseconds of work.
    Millis,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 5] = [Self::Tokens, Self::Money, Self::ToolCalls, Self::Bytes, Self::Millis];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "money",
            Self::ToolCalls => "tool_calls",
            Self::Bytes => "bytes",
            Self::Millis => "millis",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Amounts {
    /// How much of one unit.
    pub const fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
            Unit::ToolCalls => self.tool_calls,
            Unit::Bytes => self.bytes,
            Unit::Millis => self.millis,
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Both together, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money: self.money.saturating_add(other.money),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            bytes: self.bytes.saturating_add(other.bytes),
            millis: self.millis.saturating_add(other.millis),
        }
    }
}

impl Amounts {
    /// So many tokens.
    pub fn tokens(tokens: u64) -> Self {
        Self { tokens, ..Self::default() }
    }

    /// So much money, in millionths of the installation's currency.
    pub fn money(money: u64) -> Self {
        Self { money, ..Self::default() }
    }

    /// What is left when the other is taken away, none where that is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            money: self.money.saturating_sub(other.money),
            tool_calls: self.tool_calls.saturating_sub(other.tool_calls),
            bytes: self.bytes.saturating_sub(other.bytes),
            millis: self.millis.saturating_sub(other.millis),
        }
    }
}

/// How much of each unit is allowed; without a limit where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ceiling {
    /// Tokens of models.
    pub tokens: Option<u64>,
    /// Money, in millionths of the installation's currency.
    pub money: Option<u64>,
    /// Calls of tools.
    pub tool_calls: Option<u64>,
    /// Bytes of results.
    pub bytes: Option<u64>,
    /// Time of work, in milliseconds.
    pub millis: Option<u64>,
}

impl Ceiling {
    /// The limit of one unit.
    pub const fn of(&self, unit: Unit) -> Option<u64> {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Money => self.money,
            Unit::ToolCalls => self.tool_calls,
            Unit::Bytes => self.bytes,
            Unit::Millis => self.millis,
        }
    }

    /// Whether nothing is limited.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// The lower limit of both, unit by unit.
    ///
    /// ```
    /// use insula_context::Ceiling;
    ///
    /// let (one, other) = (Ceiling::tokens(100), Ceiling { tokens: Some(50), money: Some(7), ..Ceiling::default() });
    /// assert_eq!(one.tighter(other), other);
    /// ```
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        let lower = |unit| match (self.of(unit), other.of(unit)) {
            (Some(one), Some(another)) => Some(one.min(another)),
            (one, another) => one.or(another),
        };
        Self {
            tokens: lower(Unit::Tokens),
            money: lower(Unit::Money),
            tool_calls: lower(Unit::ToolCalls),
            bytes: lower(Unit::Bytes),
            millis: lower(Unit::Millis),
        }
    }

    /// What is left of it after this much was spent.
    #[must_use]
    pub fn less(self, spent: &Amounts) -> Self {
        let left = |unit| self.of(unit).map(|limit| limit.saturating_sub(spent.of(unit)));
        Self {
            tokens: left(Unit::Tokens),
            money: left(Unit::Money),
            tool_calls: left(Unit::ToolCalls),
            bytes: left(Unit::Bytes),
            millis: left(Unit::Millis),
        }
    }

    /// Only tokens are limited.
    #[must_use]
    pub fn tokens(limit: u64) -> Self {
        Self { tokens: Some(limit), ..Self::default() }
    }

    /// Only money is limited, in millionths of the installation's currency.
    #[must_use]
    pub fn money(limit: u64) -> Self {
        Self { money: Some(limit), ..Self::default() }
    }

    /// Only calls of tools are limited.
    #[must_use]
    pub fn tool_calls(limit: u64) -> Self {
        Self { tool_calls: Some(limit), ..Self::default() }
    }

    /// The first unit of which this much is more than allowed.
    pub fn exceeded_by(&self, amounts: &Amounts) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| self.of(*unit).is_some_and(|limit| amounts.of(*unit) > limit))
    }
}
