//! What the process tests share: starting nodes, talking to them, watching them.
