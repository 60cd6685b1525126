//! The rules that every backend must keep.
