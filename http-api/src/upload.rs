//! `POST /upload_asset`: a file and its description, in either order. The file streams into the blob
//! store as it arrives; whatever fails, dropping the unfinished upload leaves nothing behind.

use assetmesh_node::blobs;
use assetmesh_node::catalog::Created;
use assetmesh_protocol::asset::{Draft, FileFacts};
use assetmesh_protocol::document::{Document, ValueRef};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::answer::Answer;
use crate::app::App;
use crate::config::JSON_BYTES_MAX;
use crate::error::ApiError;
use crate::extract::{declared_length, is_media_type};
use crate::form::{Form, NO_FILE_PART};
use crate::multipart::PartHead;
use crate::schema::{Creating, UploadAnswer, UploadForm};

const FILE: &str = "asset";
const METADATA: &str = "asset_metadata";
const OCTETS: &str = "application/octet-stream";
/// What a form may hold beside a file of the largest size: metadata, ignored parts, headers.
const FORM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Stores a file with its description.
///
/// The same file with the same description again is answered 200 with the asset that is there,
/// so that a client that missed the answer may simply repeat the upload.
#[utoipa::path(post, path = "/upload_asset", tag = "assets",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "Stored, on disk", body = UploadAnswer),
        (status = 200, description = "Was stored before", body = UploadAnswer),
        Creating))]
pub(crate) async fn upload(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let limit = Limit(app.config.upload_bytes_max);
    limit.check_declared(request.headers())?;
    let mut form = Form::of(request)?;
    let (mut file, mut draft) = (None, None);
    while let Some(head) = form.part().await? {
        match Role::of(head)? {
            Role::File(_) if file.is_some() => return Err(repeated(FILE)),
            Role::File(facts) => {
                let upload = receive(&mut form, app.node.blobs().begin(), limit).await?;
                file = Some((facts, upload));
            }
            Role::Metadata if draft.is_some() => return Err(repeated(METADATA)),
            // Checked at once: a bad description before the file spares sending the file.
            Role::Metadata => draft = Some(describe(&form.text(METADATA, JSON_BYTES_MAX).await?)?),
            Role::Ignored => {}
        }
    }
    let (facts, upload) = file.ok_or_else(|| ApiError::bad_request("no_file_part", NO_FILE_PART))?;
    let draft = draft.map_or_else(|| describe(b"{}"), Ok)?;
    let stored = upload.finish().await?;
    let created = app.node.catalog().create_uploaded(draft, facts, stored).await?;
    answer(&created)
}

/// What a part of the form is to an upload.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    File(FileFacts),
    Metadata,
    Ignored,
}

impl Role {
    /// A file has a file name; metadata has none, or the original overlooked it.
    fn of(head: PartHead) -> Result<Self, ApiError> {
        match (head.names.name.as_deref(), head.names.file_name) {
            (Some(FILE), Some(name)) if name.is_empty() => {
                Err(ApiError::bad_request("no_selected_file", "No selected file"))
            }
            (Some(FILE), Some(file_name)) => {
                Ok(Self::File(FileFacts { file_name, file_type: media_type(head.content_type)? }))
            }
            (Some(METADATA), None) => Ok(Self::Metadata),
            _ => Ok(Self::Ignored),
        }
    }
}

/// Kept as sent, since downloads give it back; so it must be able to stand in a header.
fn media_type(sent: Option<Vec<u8>>) -> Result<String, ApiError> {
    let Some(sent) = sent.filter(|text| !text.is_empty()) else {
        return Ok(OCTETS.to_owned());
    };
    HeaderValue::from_bytes(&sent)
        .ok()
        .filter(is_media_type)
        .and_then(|value| value.to_str().ok().map(str::to_owned))
        .ok_or_else(|| {
            ApiError::bad_request("bad_media_type", "the file part's Content-Type is no media type")
        })
}

/// The largest file that is taken.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<u64>);

impl Limit {
    fn check_declared(self, headers: &HeaderMap) -> Result<(), ApiError> {
        match (self.0, declared_length(headers)) {
            (Some(max), Some(length)) if length > max.saturating_add(FORM_BYTES_MAX) => {
                Err(ApiError::too_large("the file", max))
            }
            _ => Ok(()),
        }
    }

    fn check(self, bytes: u64) -> Result<(), ApiError> {
        match self.0 {
            Some(max) if bytes > max => Err(ApiError::too_large("the file", max)),
            _ => Ok(()),
        }
    }
}

async fn receive(
    form: &mut Form,
    mut upload: blobs::Upload,
    limit: Limit,
) -> Result<blobs::Upload, ApiError> {
    let mut received = 0;
    while let Some(bytes) = form.data().await? {
        received += bytes.len() as u64;
        limit.check(received)?;
        upload.write(bytes).await?;
    }
    Ok(upload)
}

fn describe(text: &[u8]) -> Result<Draft, ApiError> {
    let metadata = Document::from_json(text)
        .map_err(|error| ApiError::bad_request("bad_json", format!("{METADATA}: {error}")))?;
    Ok(Draft::upload(&metadata)?)
}

fn repeated(part: &str) -> ApiError {
    ApiError::bad_request("repeated_part", format!("the form has more than one part `{part}`"))
}

fn answer(created: &Created) -> Result<Response, ApiError> {
    let document = &created.asset.document;
    let member = |name: &str| match document.root() {
        ValueRef::Object(asset) => asset.get(name).and_then(|value| value.as_str()).unwrap_or_default(),
        _ => "",
    };
    let status = if created.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let answer = Answer::new()
        .member("asset_id", &member("asset_id"))?
        .member("asset_uri", &member("asset_uri"))?
        .member("public_url", &member("asset_public_url"))?
        .document("data", document);
    Ok(answer.send(status))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::disposition::FormData;

    fn head(name: &str, file_name: Option<&str>, content_type: Option<&str>) -> PartHead {
        PartHead {
            names: FormData { name: Some(name.to_owned()), file_name: file_name.map(str::to_owned) },
            content_type: content_type.map(|text| text.as_bytes().to_vec()),
        }
    }

    fn file(file_name: &str, file_type: &str) -> Role {
        Role::File(FileFacts { file_name: file_name.to_owned(), file_type: file_type.to_owned() })
    }

    #[rstest]
    #[case(head("asset", Some("a.png"), Some("image/png")), file("a.png", "image/png"))]
    #[case(
        head("asset", Some("a"), Some("text/plain; charset=utf-8")),
        file("a", "text/plain; charset=utf-8")
    )]
    #[case(head("asset", Some("a"), None), file("a", OCTETS))]
    #[case(head("asset", Some("a"), Some("")), file("a", OCTETS))]
    #[case(head("asset", None, None), Role::Ignored)]
    #[case(head("asset_metadata", None, None), Role::Metadata)]
    #[case(head("asset_metadata", None, Some("application/json")), Role::Metadata)]
    #[case(head("asset_metadata", Some("m.json"), None), Role::Ignored)]
    #[case(head("file", Some("a"), None), Role::Ignored)]
    #[case(head("Asset", Some("a"), None), Role::Ignored)]
    fn parts_have_the_role_they_had_in_the_original(#[case] head: PartHead, #[case] role: Role) {
        assert_eq!(Role::of(head).unwrap(), role);
    }

    #[test]
    fn a_file_needs_a_name_and_a_sane_type() {
        let refused = |head| Role::of(head).unwrap_err().sentence().to_owned();
        assert_eq!(refused(head("asset", Some(""), None)), "No selected file");
        for kind in ["nonsense", "text/html\u{1}", "tä/xt"] {
            assert!(refused(head("asset", Some("a"), Some(kind))).contains("Content-Type"), "{kind}");
        }
    }

    #[test]
    fn the_size_limit_is_checked_early_and_late() {
        let limit = Limit(Some(10));
        let declared =
            |length: u64| HeaderMap::from_iter([(http::header::CONTENT_LENGTH, HeaderValue::from(length))]);
        assert!(limit.check_declared(&declared(FORM_BYTES_MAX + 10)).is_ok());
        assert!(limit.check_declared(&declared(FORM_BYTES_MAX + 11)).is_err());
        assert!(limit.check(10).is_ok() && limit.check(11).is_err());
        assert!(Limit(None).check_declared(&declared(u64::MAX)).is_ok());
        assert!(Limit(Some(u64::MAX)).check(u64::MAX).is_ok());
    }

    #[test]
    fn a_description_that_is_not_json_is_named() {
        assert!(describe(b"{bad").unwrap_err().sentence().starts_with("asset_metadata: "));
        assert_eq!(describe(b"{}").unwrap_err().sentence(), "asset_name is required");
    }
}
