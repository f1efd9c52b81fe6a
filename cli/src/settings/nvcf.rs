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
    assets_max: Option<NonZeroU64>,
    account_bytes_max: Option<ByteSize>,
}

impl Layers<'_> {
    pub(super) fn nvcf(&self, file: NvcfSection) -> Result<Config, Fault> {
        let default = Config::default();
        let span = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |Span(span)| span));
        let size =
            |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |ByteSize(bytes)| bytes));
        let count = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, NonZeroU64::get));
        let lifetime = span("ASSETMESH_NVCF_ASSET_LIFETIME", file.asset_lifetime, default.lifetime)?;
        let config = Config {
            lifetime,
            upload_within: span(
                "ASSETMESH_NVCF_UPLOAD_WITHIN",
                file.upload_within,
                default.upload_within.min(lifetime),
            )?,
            bytes_max: size("ASSETMESH_NVCF_ASSET_BYTES_MAX", file.asset_bytes_max, default.bytes_max)?,
            waiting_max: count("ASSETMESH_NVCF_WAITING_MAX", file.waiting_max, default.waiting_max)?,
            assets_max: count("ASSETMESH_NVCF_ASSETS_MAX", file.assets_max, default.assets_max)?,
            account_bytes_max: size(
                "ASSETMESH_NVCF_ACCOUNT_BYTES_MAX",
                file.account_bytes_max,
                default.account_bytes_max,
            )?,
        };
        check(&config).map_err(|why| Fault::usage(format!("[nvcf]: {why}")))?;
        Ok(config)
    }
}

/// Refuses what would let no asset be of use.
fn check(config: &Config) -> Result<(), String> {
    if config.upload_within > config.lifetime {
        return Err(format!(
            "upload_within, {:?}, is longer than asset_lifetime, {:?}: an asset would expire before it may be uploaded",
            config.upload_within, config.lifetime
        ));
    }
    for (name, bytes) in
        [("asset_bytes_max", config.bytes_max), ("account_bytes_max", config.account_bytes_max)]
    {
        if bytes == 0 {
            return Err(format!("{name} is 0: nothing could be uploaded"));
        }
    }
    Ok(())
}
