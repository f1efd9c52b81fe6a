//! `[nvcf]`: how long input assets live, and how many and how large they may be.

use std::num::NonZeroU64;

use assetmesh_node::nvcf::Config;
use serde::Deserialize;

use super::Layers;
use crate::exit::Fault;
use crate::value::{ByteSize, Span};

/// The section of the settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NvcfSection {
    asset_lifetime: Option<Span>,
    upload_within: Option<Span>,
    asset_bytes_max: Option<ByteSize>,
    waiting_max: Option<NonZeroU64>,
}

impl Layers<'_> {
    pub(super) fn nvcf(&self, file: NvcfSection) -> Result<Config, Fault> {
        let default = Config::default();
        let span = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |Span(span)| span));
        Ok(Config {
            lifetime: span("ASSETMESH_NVCF_ASSET_LIFETIME", file.asset_lifetime, default.lifetime)?,
            upload_within: span("ASSETMESH_NVCF_UPLOAD_WITHIN", file.upload_within, default.upload_within)?,
            bytes_max: self
                .pick(None, "ASSETMESH_NVCF_ASSET_BYTES_MAX", file.asset_bytes_max)?
                .map_or(default.bytes_max, |ByteSize(bytes)| bytes),
            waiting_max: self
                .pick(None, "ASSETMESH_NVCF_WAITING_MAX", file.waiting_max)?
                .map_or(default.waiting_max, NonZeroU64::get),
        })
    }
}
