//! Runs agents: admission, the run's state machine, the tool dispatcher, cancellation, pipelines and subscriptions.
