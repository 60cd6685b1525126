//! Agents, sessions and tools: what an author of agents writes against, and a kit of agents for tests.
