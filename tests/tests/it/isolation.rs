//! Nobody meets anybody.
