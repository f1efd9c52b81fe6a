//! The `assetmesh` binary: parses the command line and calls one verb. It holds no logic of a node.

fn main() {}
