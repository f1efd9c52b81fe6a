//! Who may do what with a node, from all layers; and that no node is open to other machines by accident.

use std::net::SocketAddr;

use assetmesh_http_api::{Auth, Reads};
use assetmesh_node::tokens;

use super::file::AuthSection;
use super::{Layers, split_list};
use crate::args::AccessArgs;
use crate::exit::Fault;
use crate::value::{AuthMode, Issuer, Network, ReadsMode};

/// Who may do what with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// Who may read and write. Anybody by default: a first trial on loopback needs no token.
    pub(crate) auth: Auth,
    /// Whether anybody on other machines may write, too. Off: it must be said.
    pub(crate) allow_anonymous_writes: bool,
    /// Whose tokens are accepted, beside the node's own.
    pub(crate) tokens: tokens::Config,
}

impl Access {
    /// Refuses to serve other machines where anybody may write, unless that was said.
    pub(crate) fn check_address(&self, http: SocketAddr) -> Result<(), Fault> {
        let is_local = http.ip().to_canonical().is_loopback();
        if is_local || self.auth != Auth::None || self.allow_anonymous_writes {
            return Ok(());
        }
        Err(Fault::usage(format!(
            "at {http} other machines could reach this node, and anybody could write: start it with `--auth token` \
             (then make tokens with `assetmesh token create`), or serve 127.0.0.1 only, or say \
             --allow-anonymous-writes if everybody there may write"
        )))
    }
}

impl Layers<'_> {
    pub(super) fn access(&self, args: &AccessArgs, file: AuthSection) -> Result<Access, Fault> {
        let mode = self.pick(args.auth, "ASSETMESH_AUTH", file.mode)?.unwrap_or(AuthMode::None);
        let reads = self.pick(args.reads, "ASSETMESH_READS", file.reads)?.unwrap_or(ReadsMode::Open);
        let allowed = args.allow_anonymous_writes.then_some(true);
        let auth = match (mode, reads) {
            (AuthMode::None, ReadsMode::Open) => Auth::None,
            (AuthMode::None, ReadsMode::Token) => {
                return Err(Fault::usage(
                    "reads need a token, but writes do not: `--reads token` goes with `--auth token`",
                ));
            }
            (AuthMode::Token, ReadsMode::Open) => Auth::Token { reads: Reads::Open },
            (AuthMode::Token, ReadsMode::Token) => Auth::Token { reads: Reads::Token },
        };
        let outside = file.issuers.unwrap_or_default().into_iter().map(|issuer| tokens::Outside {
            issuer: issuer.issuer,
            audience: issuer.audience,
            jwks_file: issuer.jwks_file,
        });
        Ok(Access {
            auth,
            allow_anonymous_writes: self
                .pick(allowed, "ASSETMESH_ALLOW_ANONYMOUS_WRITES", file.allow_anonymous_writes)?
                .unwrap_or_default(),
            tokens: tokens::Config {
                trusted_issuers: self.trusted_issuers(args, file.trusted_issuers)?,
                outside: outside.collect(),
            },
        })
    }

    fn trusted_issuers(
        &self,
        args: &AccessArgs,
        file: Option<Vec<Issuer>>,
    ) -> Result<Vec<tokens::Trusted>, Fault> {
        const NAME: &str = "ASSETMESH_TRUSTED_ISSUERS";
        let issuers = if !args.trusted_issuers.is_empty() {
            args.trusted_issuers.clone()
        } else if let Some(list) = self.var(NAME) {
            let parsed = split_list(&list).iter().map(|text| text.parse()).collect::<Result<_, _>>();
            parsed.map_err(|unfit| Fault::usage(format!("{NAME}: {unfit}")))?
        } else {
            file.unwrap_or_default()
        };
        Ok(issuers.into_iter().map(|Issuer(trusted)| trusted).collect())
    }

    /// The federation that tokens are for, if a setting names it.
    pub(crate) fn network(&self, flag: Option<Network>) -> Result<Option<Network>, Fault> {
        self.pick(flag, "ASSETMESH_NETWORK", self.file.federation.network.clone())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn access(auth: Auth, allow_anonymous_writes: bool) -> Access {
        Access { auth, allow_anonymous_writes, tokens: tokens::Config::default() }
    }

    #[rstest]
    #[case("127.0.0.1:1", Auth::None, false, true)]
    #[case("[::1]:1", Auth::None, false, true)]
    #[case("[::ffff:127.0.0.1]:1", Auth::None, false, true)]
    #[case("0.0.0.0:1", Auth::None, false, false)]
    #[case("[::]:1", Auth::None, false, false)]
    #[case("192.168.1.7:1", Auth::None, false, false)]
    #[case("0.0.0.0:1", Auth::None, true, true)]
    #[case("0.0.0.0:1", Auth::Token { reads: Reads::Open }, false, true)]
    fn a_node_is_not_open_to_other_machines_by_accident(
        #[case] http: &str,
        #[case] auth: Auth,
        #[case] allowed: bool,
        #[case] starts: bool,
    ) {
        let checked = access(auth, allowed).check_address(http.parse().unwrap());
        assert_eq!(checked.is_ok(), starts);
        if let Err(fault) = checked {
            let sentence = fault.to_string();
            assert!(
                sentence.contains("--auth token") && sentence.contains("--allow-anonymous-writes"),
                "{sentence}"
            );
        }
    }
}
