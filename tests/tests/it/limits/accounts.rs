//! Allowances of users and tenants.
