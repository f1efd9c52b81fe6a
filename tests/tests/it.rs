//! All tests that run real processes or read the source tree: one binary, so that it links once.

#[cfg(test)]
mod it {
    mod any_node;
    mod arrows;
    mod bad_input;
    mod cache;
    mod cache_crash;
    mod cli;
    mod contract;
    mod crash;
    mod disk_full;
    mod federation;
    mod filters_over_rest;
    mod flips;
    mod linearizable;
    mod nvcf;
    mod objects;
    mod shutdown;
    mod sim;
    mod support;
    mod tokens;
    mod transfer;
}
