//! The engine factory: what it lends, counts and takes back.
