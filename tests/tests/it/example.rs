//! The example products.
