//! Who is asking: contexts, their children and their refusals.
