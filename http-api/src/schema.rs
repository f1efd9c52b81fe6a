//! The shapes of the API's answers as OpenAPI shows them, and the refusals each kind of route can give.
//! Only documentation: what is sent is written from the stored form.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::error::Refusal;

/// Declares types that only the OpenAPI document uses.
macro_rules! documented {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Serialize, ToSchema)]
        $(#[$meta])*
        pub(crate) struct $name { $($(#[$field_meta])* $field: $type,)* }
    )*};
}

documented! {
    /// What is known of an asset.
    struct AssetObject {
        /// `name:version-tag`; empty if a part is missing.
        #[schema(example = "SampleAsset:1.0-initial")]
        asset_uri: String,
        /// A string, number, boolean or null.
        asset_name: Value,
        /// The BLAKE3 hash of the content, 64 hex characters; empty for an external asset.
        asset_id: String,
        /// The node that holds it.
        assets_db_id: String,
        /// `version` and `tag`.
        asset_version: Value,
        /// Any JSON.
        asset_metadata: Value,
        /// Where the content can be fetched.
        asset_public_url: Value,
        /// For uploads: `file_name`, `file_type`, `file_size` (bytes), `checksum`, and the caller's own.
        asset_file_info: Value,
        /// Usually a list of strings.
        asset_tags: Value,
    }

    /// The description of an asset that lies elsewhere.
    #[serde(deny_unknown_fields)]
    struct NewAsset {
        #[schema(required = false)]
        asset_name: Scalar,
        #[schema(required = false)]
        asset_version: Version,
        /// Any JSON.
        #[schema(required = false)]
        asset_metadata: Value,
        /// Where the content lies.
        #[schema(required = false)]
        asset_public_url: Value,
        /// What is known of the file.
        #[schema(required = false)]
        asset_file_info: Value,
        /// Usually a list of strings.
        #[schema(required = false)]
        asset_tags: Value,
    }

    /// Which of the assets with one name. Without both parts the asset has no uri.
    struct Version {
        #[schema(required = false)]
        version: Scalar,
        #[schema(required = false)]
        tag: Scalar,
    }

    /// One asset.
    struct AssetAnswer {
        success: bool,
        data: AssetObject,
        /// Who else has an asset of this name, if anybody.
        #[schema(required = false)]
        also_at: Vec<OtherAsset>,
        /// Who did not answer, if anybody.
        #[schema(required = false)]
        federation: crate::federation::Federation,
    }

    /// An asset of the same name on another node.
    struct OtherAsset {
        assets_db_id: String,
        asset_id: String,
        /// Whether its content is that of `data`.
        same_content: bool,
    }

    /// An upload that was taken, or had been taken before.
    struct UploadAnswer {
        success: bool,
        asset_id: String,
        asset_uri: String,
        public_url: String,
        data: AssetObject,
    }

    /// A change that was made.
    struct ChangeAnswer {
        success: bool,
        data: Change,
    }

    /// What changed.
    struct Change {
        /// The record id; it reaches the asset when its uri is empty.
        id: String,
        #[schema(example = "Asset updated")]
        message: String,
        asset_uri: String,
    }

    /// A list of assets.
    struct AssetsAnswer {
        success: bool,
        data: Vec<AssetObject>,
        /// Pass it as `cursor` for the next page; null on the last.
        next_cursor: Option<String>,
        federation: crate::federation::Federation,
    }

    /// What is registered.
    struct EntryObject {
        #[schema(example = "2245a64f-aa55-4eb3-b000-e8808d8008cd")]
        asset_registry_id: String,
        asset_registry_name: String,
        /// Any JSON.
        asset_registry_metadata: Value,
        asset_registry_tags: Vec<String>,
        /// Where its service answers; `/health` below it is what `/check_health` asks.
        asset_registry_public_url: String,
    }

    /// A new entry.
    #[serde(deny_unknown_fields)]
    struct NewEntry {
        /// An id of the caller's own; without it there is a new UUID.
        #[schema(required = false, max_length = 128)]
        asset_registry_id: Option<String>,
        #[schema(required = false)]
        asset_registry_name: Option<String>,
        /// Any JSON.
        #[schema(required = false)]
        asset_registry_metadata: Value,
        #[schema(required = false)]
        asset_registry_tags: Option<Vec<String>>,
        #[schema(required = false)]
        asset_registry_public_url: Option<String>,
    }

    /// One entry, and what is known of its owner.
    struct EntryAnswer {
        success: bool,
        data: EntryObject,
        /// `owner`, its `state` and when it was `last_seen`, and when the entry was `signed_at`.
        federation: Value,
    }

    /// A list of entries.
    struct EntriesAnswer {
        success: bool,
        data: Vec<EntryObject>,
        /// Pass it as `cursor` for the next page; null on the last.
        next_cursor: Option<String>,
    }

    /// A change of an entry that was made.
    struct EntryChangeAnswer {
        success: bool,
        data: EntryChange,
    }

    /// What changed.
    struct EntryChange {
        /// The `asset_registry_id`.
        id: String,
        #[schema(example = "Asset registry updated")]
        message: String,
        asset_registry_id: String,
    }

    /// What the service of an entry says of its health.
    struct HealthCheckAnswer {
        success: bool,
        /// Its own words.
        data: Value,
    }

    /// The other nodes of the federation.
    struct PeersAnswer {
        success: bool,
        data: Vec<PeerObject>,
    }

    /// Another node, as this one sees it.
    struct PeerObject {
        assets_db_id: String,
        peer_id: String,
        name: String,
        /// `alive`, `suspect`, `down` or `left`.
        #[schema(example = "alive")]
        state: String,
        /// The last round trip, in milliseconds.
        rtt_ms: Option<f64>,
        /// When it was last heard.
        last_seen: Option<String>,
        public_url: String,
        /// When its summary was pulled.
        summary_as_of: Option<String>,
    }

    /// The nodes that this one does not talk to.
    struct BlockedAnswer {
        success: bool,
        data: crate::operator::Blocked,
    }

    /// One line of a check: one of its members, and at the end `success` with `data`.
    struct VerifyLine {
        /// `blobs`, `bytes`, `mended` and `damaged` so far.
        #[schema(required = false)]
        progress: Value,
        /// `asset_id`, `state` (`mended` or `damaged`), `mended_bytes`, `mended_from` and the `reason`.
        #[schema(required = false)]
        finding: Value,
        /// The last line: whether everything was read.
        #[schema(required = false)]
        success: bool,
        /// As `progress`, over all.
        #[schema(required = false)]
        data: Value,
    }

    /// The facts of this node.
    struct NodeAnswer {
        success: bool,
        /// Ids, addresses and counts.
        data: Value,
    }

    /// The node is healthy.
    struct HealthAnswer {
        success: bool,
        #[schema(example = "healthy")]
        message: String,
        /// As `data` of `/v1/node`, and `open_writes`: whether anybody may write.
        node: Value,
    }

    /// The process serves.
    struct LiveAnswer {
        success: bool,
        message: String,
    }

    /// The form of an upload. The parts may come in either order.
    struct UploadForm {
        /// The file.
        #[schema(value_type = String, format = Binary)]
        asset: String,
        /// JSON text: `asset_name` and `asset_version{version,tag}` are required.
        #[schema(min_length = 2, example = r#"{"asset_name":"A","asset_version":{"version":"1.0","tag":"x"}}"#)]
        asset_metadata: String,
    }
}

/// Declares a set of refusals by their statuses.
macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident = [$($status:literal),*];)*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                [$($status),*].into_iter().map(refusal).collect()
            }
        }
    )*};
}

refusals! {
    /// Any route.
    Any = [431, 500];
    /// A route that reads one thing by its name.
    Reading = [400, 404, 431, 500, 503];
    /// A route that creates from a JSON body.
    Creating = [400, 403, 408, 409, 413, 415, 429, 431, 500, 503, 507];
    /// A route that changes one thing by its name.
    Updating = [400, 403, 404, 408, 409, 413, 415, 429, 431, 500, 503, 507];
    /// A route that deletes one thing by its name.
    Deleting = [400, 403, 404, 409, 429, 431, 500, 503, 507];
    /// A route that answers a filter.
    Querying = [400, 408, 413, 415, 431, 500, 503, 504];
    /// A route for the operator of the node.
    Operating = [400, 403, 408, 413, 415, 431, 500, 503];
    /// A route that reads the content through.
    Checking = [403, 431, 500, 503];
    /// A route that serves content.
    Serving = [404, 416, 431, 500, 502, 503];
    /// A route that tells whether the node can work.
    Probing = [431, 500, 503];
}

/// A refusal as the document shows it, with its status.
pub(crate) fn refusal(status: u16) -> (String, RefOr<Response>) {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Refusal::name()))).build();
    let response = ResponseBuilder::new()
        .description(reason.unwrap_or_default())
        .content("application/json", content)
        .build();
    (status.to_string(), response.into())
}

/// A value that can stand in a uri.
#[derive(Debug, Serialize)]
pub(crate) struct Scalar;

impl PartialSchema for Scalar {
    fn schema() -> RefOr<Schema> {
        let types = [Type::String, Type::Number, Type::Boolean, Type::Null];
        ObjectBuilder::new().schema_type(SchemaType::from_iter(types)).build().into()
    }
}

impl ToSchema for Scalar {}

/// The change of an asset: members, or dotted paths into them.
#[derive(Debug)]
pub(crate) struct Patch;

impl PartialSchema for Patch {
    fn schema() -> RefOr<Schema> {
        let path = "^asset_(name|version|metadata|public_url|file_info|tags)([.][A-Za-z0-9_-]+)*$";
        let names = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(path));
        ObjectBuilder::new()
            .description(Some("Members to set, whole or by a dotted path such as `asset_metadata.author`"))
            .property("asset_name", Ref::from_schema_name(Scalar::name()))
            .property("asset_version", Ref::from_schema_name(Version::name()))
            .property_names(Some(names))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([serde_json::json!({"asset_metadata.author": "me", "asset_tags": ["a"]})])
            .build()
            .into()
    }
}

impl ToSchema for Patch {}

/// The change of an entry: members, or dotted paths into them.
#[derive(Debug)]
pub(crate) struct EntryPatch;

impl PartialSchema for EntryPatch {
    fn schema() -> RefOr<Schema> {
        let path = "^asset_registry_(name|metadata|tags|public_url)([.][A-Za-z0-9_-]+)*$";
        let names = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(path));
        ObjectBuilder::new()
            .description(Some(
                "Members to set, whole or by a dotted path such as `asset_registry_metadata.version`",
            ))
            .property_names(Some(names))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .examples([serde_json::json!({"asset_registry_metadata.version": "2.0"})])
            .build()
            .into()
    }
}

impl ToSchema for EntryPatch {}

/// A filter document: any object (see the filter language).
#[derive(Debug)]
pub(crate) struct FilterDocument;

impl PartialSchema for FilterDocument {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .description(Some("A filter document in the query language of MongoDB's find"))
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .build()
            .into()
    }
}

impl ToSchema for FilterDocument {}
