//! Who calls: finding the credentials in a request, and the types that handlers receive.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_engine::{accounts::Session, appservices::Appservice};
use hearth_types::ruma::{
    OwnedServerName,
    api::{
        auth_scheme::{
            AccessToken, AccessTokenOptional, AppserviceTokenOptional, NoAccessToken,
            NoAuthentication,
        },
        federation::authentication::ServerSignatures,
    },
};
use http::{Request, header, request::Parts};

use super::{
    error::{Code, RouteError},
    query,
};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthClass {
    /// Nothing.
    None,
    /// A valid access token.
    AccessToken,
    /// A valid access token, or none.
    OptionalAccessToken,
    /// The token of an application service counts; any other is as good as none.
    OptionalAppserviceToken,
    /// An `X-Matrix` signature of another server.
    ServerSignature,
    /// A connection over the admin socket, which only the owner of the process can open, or the access
    /// token of an administrator of this server.
    Administrator,
}

/// A caller of a route that asks for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Anyone {
    /// Where the request comes from.
    pub address: IpAddr,
}

/// A person (or bot) whose access token was checked.
#[derive(Clone, Debug)]
pub struct User {
    /// Whose token it is, and on which device.
    pub session: Arc<Session>,
    /// Where the request comes from.
    pub address: IpAddr,
}

impl User {
    /// Checks that a path names the caller: nobody acts for somebody else.
    ///
    /// # Errors
    /// `M_FORBIDDEN`.
    pub fn must_be(&self, user_id: &str) -> Result<(), RouteError> {
        if self.session.user_id.as_str() == user_id {
            return Ok(());
        }
        let message = "This is another person's";
        Err(RouteError::refuse(Code::FORBIDDEN, message))
    }
}

/// A caller of a route on which a token is optional.
#[derive(Clone, Debug)]
pub struct MaybeUser {
    /// The person, if a token was sent.
    pub user: Option<User>,
    /// Where the request comes from.
    pub address: IpAddr,
}

/// A caller of a route on which the token of an application service counts, and no other.
#[derive(Clone, Debug)]
pub struct MaybeAppservice {
    /// What was shown.
    pub shown: Shown,
    /// Where the request comes from.
    pub address: IpAddr,
}

/// The token that came with a request on such a route.
#[derive(Clone, Debug)]
pub enum Shown {
    /// None.
    Nothing,
    /// One that is not that of an application service.
    Another,
    /// That of an application service.
    Appservice(Arc<Appservice>),
}

impl MaybeAppservice {
    /// The application service, for what only one may do.
    ///
    /// # Errors
    /// `M_MISSING_TOKEN`, `M_UNKNOWN_TOKEN`.
    pub fn appservice(&self) -> Result<&Appservice, RouteError> {
        match &self.shown {
            Shown::Appservice(service) => Ok(service),
            Shown::Nothing => Err(missing_token()),
            Shown::Another => Err(RouteError::unknown_token(false)),
        }
    }
}

/// Another server whose signature of this request was checked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: OwnedServerName,
    /// Where the request comes from.
    pub address: IpAddr,
}

/// Who administers the server: its owner on the admin socket, or a person.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// The person, where it is one.
    pub user: Option<User>,
}

/// A caller of any kind, before the route's own type is made of it.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody in particular.
    Anyone(Anyone),
    /// A token's owner.
    User(User),
    /// An application service, or anyone.
    MaybeAppservice(MaybeAppservice),
    /// Another server.
    Server(Server),
    /// An administrator of this server, on a route for those.
    Admin(User),
    /// The owner of the process.
    Owner,
}

/// An authentication scheme: its class, and the type of caller that handlers under it receive.
///
/// Implemented for ruma's schemes, so that a row's class follows from its endpoint type and a
/// handler cannot ask for a person on a route that lets anyone in.
pub trait Scheme {
    /// The class of the row.
    const CLASS: AuthClass;
    /// What the handler receives.
    type Caller: Send + 'static;

    /// `None` only if the dispatcher let a caller of another kind through, which is a bug.
    fn caller(caller: Caller) -> Option<Self::Caller>;
}

/// The scheme of the admin API, of which ruma knows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Administration;

impl Scheme for NoAuthentication {
    const CLASS: AuthClass = AuthClass::None;
    type Caller = Anyone;

    fn caller(caller: Caller) -> Option<Anyone> {
        match caller {
            Caller::Anyone(anyone) => Some(anyone),
            _ => None,
        }
    }
}

impl Scheme for NoAccessToken {
    const CLASS: AuthClass = AuthClass::None;
    type Caller = Anyone;

    fn caller(caller: Caller) -> Option<Anyone> {
        NoAuthentication::caller(caller)
    }
}

impl Scheme for AccessToken {
    const CLASS: AuthClass = AuthClass::AccessToken;
    type Caller = User;

    fn caller(caller: Caller) -> Option<User> {
        match caller {
            Caller::User(user) => Some(user),
            _ => None,
        }
    }
}

impl Scheme for AccessTokenOptional {
    const CLASS: AuthClass = AuthClass::OptionalAccessToken;
    type Caller = MaybeUser;

    fn caller(caller: Caller) -> Option<MaybeUser> {
        match caller {
            Caller::Anyone(Anyone { address }) => Some(MaybeUser {
                user: None,
                address,
            }),
            Caller::User(user) => Some(MaybeUser {
                address: user.address,
                user: Some(user),
            }),
            _ => None,
        }
    }
}

impl Scheme for AppserviceTokenOptional {
    const CLASS: AuthClass = AuthClass::OptionalAppserviceToken;
    type Caller = MaybeAppservice;

    fn caller(caller: Caller) -> Option<MaybeAppservice> {
        match caller {
            Caller::MaybeAppservice(it) => Some(it),
            _ => None,
        }
    }
}

impl Scheme for ServerSignatures {
    const CLASS: AuthClass = AuthClass::ServerSignature;
    type Caller = Server;

    fn caller(caller: Caller) -> Option<Server> {
        match caller {
            Caller::Server(server) => Some(server),
            _ => None,
        }
    }
}

impl Scheme for Administration {
    const CLASS: AuthClass = AuthClass::Administrator;
    type Caller = Administrator;

    fn caller(caller: Caller) -> Option<Administrator> {
        match caller {
            Caller::Owner => Some(Administrator { user: None }),
            Caller::Admin(user) => Some(Administrator { user: Some(user) }),
            _ => None,
        }
    }
}

/// Who may call. The process wires accounts and the key ring behind it.
pub trait Authority: Send + Sync + 'static {
    /// The owner of an access token, or for whom the application service acts whose token it is: `parts`
    /// say that.
    ///
    /// # Errors
    /// `M_UNKNOWN_TOKEN`, `M_USER_LOCKED`, …
    fn user<'a>(
        &'a self,
        token: &'a str,
        parts: &'a Parts,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<User, RouteError>>;

    /// The application service whose token it is.
    fn appservice(&self, as_token: &str) -> Option<Arc<Appservice>>;

    /// The server that signed this request.
    ///
    /// # Errors
    /// 401 with `M_UNAUTHORIZED` or `M_FORBIDDEN` for a signature that is missing or wrong.
    fn server<'a>(
        &'a self,
        request: &'a Request<Bytes>,
    ) -> BoxFuture<'a, Result<OwnedServerName, RouteError>>;
}

/// The access token of a request: the header, or else the deprecated query parameter.
///
/// spec: client-server v1.19 § Using access tokens
#[must_use]
pub fn access_token(parts: &Parts) -> Option<String> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    });
    bearer
        .or_else(|| query::value(parts.uri.query()?, "access_token").map(Into::into))
        .filter(|token| !token.is_empty())
}

/// The caller of a request on a route whose class needs no body to tell.
///
/// # Errors
/// `M_MISSING_TOKEN`, and what the authority refuses.
pub async fn caller(
    class: AuthClass,
    authority: &dyn Authority,
    parts: &Parts,
    address: IpAddr,
) -> Result<Caller, RouteError> {
    let anyone = Caller::Anyone(Anyone { address });
    let token = match class {
        AuthClass::None | AuthClass::ServerSignature => return Ok(anyone),
        AuthClass::OptionalAppserviceToken => {
            let shown = shown(access_token(parts).as_deref(), authority);
            return Ok(Caller::MaybeAppservice(MaybeAppservice { shown, address }));
        }
        AuthClass::AccessToken | AuthClass::Administrator | AuthClass::OptionalAccessToken => {
            access_token(parts)
        }
    };
    match token {
        Some(token) => match authority.user(&token, parts, address).await {
            Ok(user) if class == AuthClass::Administrator => administrator(user),
            known => known.map(Caller::User),
        },
        None if class == AuthClass::OptionalAccessToken => Ok(anyone),
        None => Err(missing_token()),
    }
}

fn missing_token() -> RouteError {
    RouteError::refuse(Code::MISSING_TOKEN, "This endpoint needs an access token")
}

fn shown(token: Option<&str>, authority: &dyn Authority) -> Shown {
    match token.map(|token| authority.appservice(token)) {
        None => Shown::Nothing,
        Some(None) => Shown::Another,
        Some(Some(service)) => Shown::Appservice(service),
    }
}

fn administrator(user: User) -> Result<Caller, RouteError> {
    if user.session.admin {
        return Ok(Caller::Admin(user));
    }
    let message = "Only an administrator of this server may do this";
    Err(RouteError::refuse(Code::FORBIDDEN, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(uri: &str, authorization: Option<&str>) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        access_token(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_token_is_found_in_the_header_and_in_the_query() {
        assert_eq!(token("/a", Some("Bearer abc")).as_deref(), Some("abc"));
        assert_eq!(token("/a", Some("bearer abc")).as_deref(), Some("abc"));
        assert_eq!(
            token("/a?x=1&access_token=a%2Bb", None).as_deref(),
            Some("a+b")
        );
        assert_eq!(
            token("/a?access_token=q", Some("Bearer h")).as_deref(),
            Some("h")
        );
    }

    #[test]
    fn other_schemes_and_empty_tokens_are_none() {
        assert_eq!(token("/a", Some("Basic abc")), None);
        assert_eq!(token("/a", Some("Bearer ")), None);
        assert_eq!(token("/a?access_token=", None), None);
        assert_eq!(token("/a?not_access_token=x", None), None);
        assert_eq!(token("/a", None), None);
    }
}
