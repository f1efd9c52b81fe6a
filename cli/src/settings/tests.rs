//! Which layer wins, and that the example file says what the defaults are.

use rstest::rstest;

use assetmesh_http_api::{Auth, Reads};
use assetmesh_node::tokens::Outside;

use super::*;
use crate::value::Issuer;

const EXAMPLE: &str = include_str!("../../../assetmesh.example.toml");

/// A node by its asset database, and one by its key.
const ISSUERS: &str =
    "6ba7b810-9dad-81d1-80b4-00c04fd430c8,a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";

fn layers<'a>(env: &'a dyn Fn(&str) -> Option<String>, file: &str) -> Layers<'a> {
    Layers { env, file: toml::from_str(file).unwrap() }
}

fn no_env(_: &str) -> Option<String> {
    None
}

fn env_of(pairs: &[(&'static str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
}

#[rstest]
#[case(None, None, None, "127.0.0.1:4000")]
#[case(None, None, Some("127.0.0.1:3"), "127.0.0.1:3")]
#[case(None, Some("127.0.0.1:2"), Some("127.0.0.1:3"), "127.0.0.1:2")]
#[case(Some("127.0.0.1:1"), Some("127.0.0.1:2"), Some("127.0.0.1:3"), "127.0.0.1:1")]
#[case(None, Some(""), Some("127.0.0.1:3"), "127.0.0.1:3")]
fn the_flag_goes_before_the_variable_before_the_file_before_the_default(
    #[case] flag: Option<&str>,
    #[case] variable: Option<&str>,
    #[case] file: Option<&str>,
    #[case] expected: &str,
) {
    let env = env_of(&variable.map(|value| ("ASSETMESH_HTTP", value)).into_iter().collect::<Vec<_>>());
    let file = file.map(|value| format!("[node]\nhttp = \"{value}\"\n")).unwrap_or_default();
    let args = NodeRunArgs { http: flag.map(|text| text.parse().unwrap()), ..NodeRunArgs::default() };
    let settings = layers(&env, &file).node(&args).unwrap();
    assert_eq!(settings.http, expected.parse().unwrap());
}

#[test]
fn every_setting_has_its_variable() {
    let env = env_of(&[
        ("ASSETMESH_DATA_DIR", "/d"),
        ("ASSETMESH_PUBLIC_URL", "https://a.example"),
        ("ASSETMESH_NAME", "n"),
        ("ASSETMESH_LABELS", "a, b,"),
        ("ASSETMESH_CACHE_MAX", "3MiB"),
        ("ASSETMESH_CONNECTIONS_MAX", "7"),
        ("ASSETMESH_HEADER_TIMEOUT", "1s"),
        ("ASSETMESH_HTTP_IDLE_TIMEOUT", "2s"),
        ("ASSETMESH_STALL_TIMEOUT", "3s"),
        ("ASSETMESH_PROGRESS_WINDOW", "4s"),
        ("ASSETMESH_PROGRESS_BYTES_MIN", "5KiB"),
        ("ASSETMESH_STOP_DEADLINE", "6s"),
        ("ASSETMESH_UPLOAD_MAX", "8MB"),
        ("ASSETMESH_NETWORK", "lab"),
        ("ASSETMESH_NETWORK_KEY_FILE", "/k"),
        ("ASSETMESH_P2P", "/ip4/127.0.0.1/tcp/0,/ip6/::1/tcp/0"),
        ("ASSETMESH_BOOTSTRAP", "/ip4/127.0.0.1/tcp/9"),
        ("ASSETMESH_MDNS", "true"),
        ("ASSETMESH_REMOTE_WRITES", "deny"),
        ("ASSETMESH_PROBE", "public"),
        ("ASSETMESH_LOG", "debug"),
        ("RUST_LOG", "trace"),
        ("ASSETMESH_LOG_FORMAT", "json"),
        ("ASSETMESH_NODE", "http://other:1"),
        ("ASSETMESH_TOKEN", "t"),
        ("ASSETMESH_IDLE_TIMEOUT", "5s"),
        ("ASSETMESH_RETRIES", "0"),
    ]);
    let node = layers(&env, "").node(&NodeRunArgs::default()).unwrap();
    assert_eq!(node.data_dir, Path::new("/d"));
    assert_eq!(node.public_url.unwrap().to_string(), "https://a.example");
    assert_eq!(
        (node.name.as_deref(), node.labels.as_slice()),
        (Some("n"), &["a".to_owned(), "b".to_owned()][..])
    );
    assert_eq!(node.cache_max, 3 << 20);
    let limits = assetmesh_http_api::Config {
        connections_max: 7,
        header_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(3),
        progress_window: Duration::from_secs(4),
        progress_bytes_min: 5 * 1024,
        stop_deadline: Duration::from_secs(6),
        upload_bytes_max: Some(8_000_000),
        probe: Reach::Public,
        ..assetmesh_http_api::Config::default()
    };
    assert_eq!(node.http_limits, limits);
    let federation = Federation {
        network: "lab".parse().unwrap(),
        network_key: Some(PathBuf::from("/k")),
        p2p: vec!["/ip4/127.0.0.1/tcp/0".to_owned(), "/ip6/::1/tcp/0".to_owned()],
        bootstrap: vec!["/ip4/127.0.0.1/tcp/9".to_owned()],
        mdns: true,
        remote_writes: Some(RemoteWrites::Deny),
    };
    assert_eq!(node.federation, federation);
    assert_eq!((node.log_filter.as_str(), node.log_format), ("debug", LogFormat::Json));
    let client = layers(&env, "").client(&ClientArgs::default()).unwrap();
    assert_eq!(client.node.to_string(), "http://other:1");
    assert_eq!((client.token.as_deref(), client.retries), (Some("t"), 0));
    assert_eq!(client.idle_timeout, Duration::from_secs(5));
}

#[test]
fn access_has_its_variables() {
    let env = env_of(&[
        ("ASSETMESH_AUTH", "token"),
        ("ASSETMESH_READS", "token"),
        ("ASSETMESH_ALLOW_ANONYMOUS_WRITES", "true"),
        ("ASSETMESH_TRUSTED_ISSUERS", ISSUERS),
    ]);
    let node = layers(&env, "").node(&NodeRunArgs::default()).unwrap();
    assert_eq!(node.access.auth, Auth::Token { reads: Reads::Token });
    assert!(node.access.allow_anonymous_writes);
    let issuers: Vec<Issuer> = ISSUERS.split(',').map(|text| text.parse().unwrap()).collect();
    assert_eq!(node.access.tokens.trusted_issuers, [issuers[0].0, issuers[1].0]);
}

#[test]
fn input_assets_have_their_variables() {
    let env = env_of(&[
        ("ASSETMESH_NVCF_ASSET_LIFETIME", "2h"),
        ("ASSETMESH_NVCF_UPLOAD_WITHIN", "3m"),
        ("ASSETMESH_NVCF_ASSET_BYTES_MAX", "4MB"),
        ("ASSETMESH_NVCF_WAITING_MAX", "5"),
        ("ASSETMESH_NVCF_ASSETS_MAX", "6"),
        ("ASSETMESH_NVCF_ACCOUNT_BYTES_MAX", "7MB"),
    ]);
    let nvcf = assetmesh_node::nvcf::Config {
        lifetime: Duration::from_secs(7200),
        upload_within: Duration::from_secs(180),
        bytes_max: 4_000_000,
        waiting_max: 5,
        assets_max: 6,
        account_bytes_max: 7_000_000,
    };
    assert_eq!(layers(&env, "").node(&NodeRunArgs::default()).unwrap().nvcf, nvcf);
}

#[test]
fn bounds_that_would_let_no_input_asset_be_of_use_are_refused() {
    let nvcf = |text: &str| {
        let settings = layers(&env_of(&[]), &format!("[nvcf]\n{text}\n")).node(&NodeRunArgs::default());
        settings.map(|node| node.nvcf).map_err(|error| error.to_string())
    };
    let error = nvcf("asset_lifetime = \"1h\"\nupload_within = \"2h\"").unwrap_err();
    assert!(error.contains("upload_within, 7200s, is longer than asset_lifetime, 3600s"), "{error}");
    for name in ["asset_bytes_max", "account_bytes_max"] {
        let error = nvcf(&format!("{name} = \"0\"")).unwrap_err();
        assert!(error.starts_with(&format!("[nvcf]: {name} is 0")), "{error}");
    }
    let short = nvcf("asset_lifetime = \"10m\"").unwrap();
    assert_eq!(short.upload_within, Duration::from_secs(600), "what is not given follows");
}

#[test]
fn a_wrong_variable_is_named() {
    let env = env_of(&[("ASSETMESH_HTTP", "nowhere")]);
    let error = layers(&env, "").node(&NodeRunArgs::default()).unwrap_err().to_string();
    assert!(error.starts_with("ASSETMESH_HTTP: `nowhere`"), "{error}");
}

#[test]
fn a_secret_may_come_from_a_file_but_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let path = path.to_str().unwrap();
    let by_file = env_of(&[("ASSETMESH_TOKEN_FILE", path)]);
    let settings = layers(&by_file, "[client]\ntoken = \"other\"\n").client(&ClientArgs::default()).unwrap();
    assert_eq!(settings.token.as_deref(), Some("s3cret"));
    assert!(!format!("{settings:?}").contains("s3cret"), "a secret must not be shown");

    let twice = env_of(&[("ASSETMESH_TOKEN_FILE", path), ("ASSETMESH_TOKEN", "x")]);
    let error = layers(&twice, "").client(&ClientArgs::default()).unwrap_err().to_string();
    assert!(error.contains("keep one"), "{error}");

    let gone = env_of(&[("ASSETMESH_TOKEN_FILE", "/no/such/token")]);
    let error = layers(&gone, "").client(&ClientArgs::default()).unwrap_err().to_string();
    assert!(error.contains("/no/such/token"), "{error}");
}

#[test]
fn the_example_file_equals_the_defaults() {
    let example = layers(&no_env, EXAMPLE).node(&NodeRunArgs::default()).unwrap();
    assert_eq!(example, layers(&no_env, "").node(&NodeRunArgs::default()).unwrap());
    let example = layers(&no_env, EXAMPLE).client(&ClientArgs::default()).unwrap();
    assert_eq!(example, layers(&no_env, "").client(&ClientArgs::default()).unwrap());
}

#[test]
fn the_example_file_shows_every_key() {
    // A key without a default stands there as `#key = value`.
    let shown: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let file: FileSettings = toml::from_str(&shown).unwrap();
    let shown = format!("{file:#?}");
    let is_key = |line: &&str| line.starts_with("        ") && !line.starts_with("         ");
    let absent: Vec<_> = shown.lines().filter(is_key).filter(|line| line.ends_with(": None,")).collect();
    assert_eq!(absent, [""; 0], "the example lacks keys");
}

#[test]
fn reads_are_not_closed_while_writes_are_open() {
    let error = layers(&no_env, "[auth]\nreads = \"token\"\n").node(&NodeRunArgs::default()).unwrap_err();
    assert!(error.to_string().contains("--auth token"), "{error}");
}

#[test]
fn issuers_from_outside_stand_in_the_file() {
    let file = "[auth]\nissuers = [{ issuer = \"i\", audience = \"a\", jwks_file = \"/k\" }]\n";
    let settings = layers(&no_env, file).node(&NodeRunArgs::default()).unwrap();
    let expected = Outside { issuer: "i".to_owned(), audience: "a".to_owned(), jwks_file: "/k".into() };
    assert_eq!(settings.access.tokens.outside, [expected]);
    let misspelt = "[auth]\ntrusted_issuers = [\"peer-7\"]\n";
    assert!(toml::from_str::<FileSettings>(misspelt).unwrap_err().to_string().contains("peer-7"));
}
