//! Input assets as the clients of NVCF use them, on a real node.

mod account;
mod calls;
mod crash;
mod documented;
mod expiry;
mod invoke;
mod mutations;
mod uploads;
