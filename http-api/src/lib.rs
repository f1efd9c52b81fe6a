//! The axum façade: turns requests into calls of a [`assetmesh_node`] node. It knows neither redb nor libp2p.
