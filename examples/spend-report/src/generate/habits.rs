//! How teams and models behave. Each habit has something in it that an analysis should find.

/// How a team uses models.
#[derive(Debug)]
pub(super) struct Habit {
    /// Its part of all calls.
    pub(super) calls: f64,
    /// Which models, and how often.
    pub(super) models: &'static [(&'static str, f64)],
    /// Tokens of a prompt: median and spread.
    pub(super) input: (f64, f64),
    /// Tokens of an answer: median and spread.
    pub(super) output: (f64, f64),
    /// How often a prompt is one that was asked before.
    pub(super) repeats: f64,
    /// How many prompts are asked again and again.
    pub(super) pool: usize,
    /// How often the provider has the beginning of the prompt cached.
    pub(super) cached: f64,
    /// Calls at a weekend, against 1 on a working day.
    pub(super) weekend: f64,
    /// When in a day.
    pub(super) hours: Hours,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Hours {
    Office,
    AllDay,
    Night,
}

impl Hours {
    /// The weight of one hour of the day.
    pub(super) fn weight(self, hour: usize) -> f64 {
        match (self, hour) {
            (Self::Office, 9..=11 | 14..=17) => 1.0,
            (Self::Office, 8 | 12 | 13 | 18) => 0.5,
            (Self::Office, _) => 0.02,
            (Self::AllDay, 8..=22) => 1.0,
            (Self::AllDay, _) => 0.25,
            (Self::Night, 1..=4) => 1.0,
            (Self::Night, _) => 0.0,
        }
    }
}

/// A large model for short answers to the same questions.
const SUPPORT: Habit = Habit {
    calls: 0.30,
    models: &[("aurora-large", 0.8), ("aurora-small", 0.2)],
    input: (5_200.0, 0.35),
    output: (90.0, 0.5),
    repeats: 0.5,
    pool: 24,
    cached: 0.25,
    weekend: 0.5,
    hours: Hours::AllDay,
};

/// Many small calls that are cached well: nothing to find.
const SEARCH: Habit = Habit {
    calls: 0.28,
    models: &[("basalt-mini", 1.0)],
    input: (1_800.0, 0.25),
    output: (60.0, 0.4),
    repeats: 0.12,
    pool: 200,
    cached: 0.8,
    weekend: 0.8,
    hours: Hours::AllDay,
};

/// Long prompts and long answers, never cached.
const RESEARCH: Habit = Habit {
    calls: 0.10,
    models: &[("basalt-pro", 0.6), ("cedar-reason", 0.4)],
    input: (14_000.0, 0.6),
    output: (1_400.0, 0.5),
    repeats: 0.02,
    pool: 20,
    cached: 0.05,
    weekend: 0.2,
    hours: Hours::Office,
};

/// Long prompts that begin alike, and are cached for the better part.
const PLATFORM: Habit = Habit {
    calls: 0.16,
    models: &[("aurora-large", 0.5), ("basalt-pro", 0.5)],
    input: (16_000.0, 0.5),
    output: (700.0, 0.6),
    repeats: 0.04,
    pool: 40,
    cached: 0.7,
    weekend: 0.15,
    hours: Hours::Office,
};

/// A few texts a day.
const MARKETING: Habit = Habit {
    calls: 0.06,
    models: &[("aurora-large", 0.4), ("basalt-pro", 0.6)],
    input: (800.0, 0.4),
    output: (450.0, 0.5),
    repeats: 0.08,
    pool: 15,
    cached: 0.1,
    weekend: 0.05,
    hours: Hours::Office,
};

/// A job at night that asks about unchanged documents again.
const BATCH: Habit = Habit {
    calls: 0.10,
    models: &[("basalt-pro", 1.0)],
    input: (15_000.0, 0.3),
    output: (160.0, 0.3),
    repeats: 0.7,
    pool: 8,
    cached: 0.02,
    weekend: 1.0,
    hours: Hours::Night,
};

/// The habits, dealt to teams in turn.
pub(super) const HABITS: [Habit; 6] = [SUPPORT, SEARCH, RESEARCH, PLATFORM, MARKETING, BATCH];

/// How long a model takes: milliseconds before the first token, and for each token.
pub(super) fn pace(model: &str) -> (f64, f64) {
    match model {
        "aurora-large" => (900.0, 18.0),
        "aurora-small" => (350.0, 7.0),
        "basalt-pro" => (600.0, 12.0),
        "cedar-reason" => (4_000.0, 30.0),
        _ => (200.0, 4.0),
    }
}
