//! Limits limit: what fails is tried again within bounds, what is down is left alone, and nobody spends more than they may.

mod accounts;
mod breakers;
mod budgets;
mod plans;
mod retries;
mod tools;
