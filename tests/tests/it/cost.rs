//! Steady cost: what a thousand rounds leave behind.
