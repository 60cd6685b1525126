//! Every port of insula-infra on one SQLite file, with one more file per user for agents' own tables.
