//! The whole way of an invocation.
