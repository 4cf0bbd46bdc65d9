//! Everything that can be asked of the gateway, and who may: the one table that routes are built from, handlers check
//! against and tests enumerate.

use auth::Role;
use contracts::http::ApiKeyScope;

/// Who may do something. Each of the last three includes those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, known or not.
    Anyone,
    /// Whoever shows inside the connection who they are: its first frame is an operation of its own.
    Connection,
    /// Every known caller.
    Reader,
    /// Callers that may change things: users and admins.
    Writer,
    /// Administrators of the tenant.
    Admin,
}

/// Where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// An HTTP request: method and path.
    Http(&'static str, &'static str),
    /// A frame of a connection, by its type (and action or scope).
    Frame(&'static str),
    /// Part of an HTTP request: what makes it this.
    Within(&'static str),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name in audit records.
    pub name: &'static str,
    /// Where it is asked for.
    pub surface: Surface,
    /// Who may.
    pub who: Who,
    /// What an API key needs besides its role; without one, API keys can't do this at all.
    pub scope: Option<ApiKeyScope>,
}

/// Why a known caller may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The role may only read.
    ReadOnly,
    /// The role is not admin.
    NotAdmin,
    /// The API key lacks this scope.
    Scope(ApiKeyScope),
    /// API keys can't do this.
    NotByKey,
}

impl Denied {
    /// Stable word for audit records.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::NotAdmin => "not_admin",
            Self::Scope(_) => "scope_missing",
            Self::NotByKey => "not_by_api_key",
        }
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])+ $operation:ident = $name:literal, $surface:expr, $who:ident, $scope:expr;)+) => {
        /// Something that can be asked of the gateway.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])+ $operation,)+
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$operation,)+];

            /// Its row.
            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$operation => Rule { name: $name, surface: $surface, who: Who::$who, scope: $scope },)+
                }
            }
        }
    };
}

use ApiKeyScope::{Connect, PeersRead, ProofsIssue, SubscriptionsRead, SubscriptionsWrite};
use Surface::{Frame, Http, Within};

operations! {
    /// The API's description.
    ReadDocument = "docs.openapi", Http("GET", "/openapi.json"), Anyone, None;
    /// Its page.
    ReadDocs = "docs.read", Http("GET", "/docs"), Anyone, None;
    /// The page of errors.
    ReadErrorDocs = "docs.errors", Http("GET", "/docs/errors"), Anyone, None;
    /// How they look.
    ReadDocsStyle = "docs.style", Http("GET", "/docs/page.css"), Anyone, None;
    /// What they do.
    ReadDocsScript = "docs.script", Http("GET", "/docs/page.js"), Anyone, None;
    /// The keys of proofs.
    ReadProofKeys = "proof_keys.read", Http("GET", "/.well-known/jwks.json"), Anyone, None;
    /// What may be bought.
    ListPlans = "plans.list", Http("GET", "/v1/plans"), Reader, Some(SubscriptionsRead);
    /// Whether Stripe agrees with the catalogue.
    CheckPlans = "plans.check", Http("POST", "/v1/plans/check"), Admin, Some(SubscriptionsRead);
    /// Buy.
    CreateSubscription = "subscriptions.create", Http("POST", "/v1/subscriptions"), Writer, Some(SubscriptionsWrite);
    /// One's own subscriptions.
    ListSubscriptions = "subscriptions.list", Http("GET", "/v1/subscriptions"), Reader, Some(SubscriptionsRead);
    /// Other users' subscriptions, listed or looked at.
    SeeOthersSubscriptions = "subscriptions.see_others", Within("GET /v1/subscriptions?all, ?user_id"), Admin,
        Some(SubscriptionsRead);
    /// A page of Stripe's to buy on.
    OpenCheckout = "subscriptions.checkout", Http("POST", "/v1/subscriptions/checkout"), Writer,
        Some(SubscriptionsWrite);
    /// A page of Stripe's to manage on.
    OpenPortal = "subscriptions.portal", Http("POST", "/v1/subscriptions/portal"), Writer, Some(SubscriptionsWrite);
    /// Bill by another price; its owner and admins.
    ChangePlan = "subscriptions.change_plan", Http("POST", "/v1/subscriptions/{id}/plan"), Writer,
        Some(SubscriptionsWrite);
    /// End one; its owner and admins.
    CancelSubscription = "subscriptions.cancel", Http("POST", "/v1/subscriptions/{id}/cancel"), Writer,
        Some(SubscriptionsWrite);
    /// Take that back; its owner and admins.
    ResumeSubscription = "subscriptions.resume", Http("POST", "/v1/subscriptions/{id}/resume"), Writer,
        Some(SubscriptionsWrite);
    /// One subscription; its owner and admins.
    ReadSubscription = "subscriptions.read", Http("GET", "/v1/subscriptions/{id}"), Reader, Some(SubscriptionsRead);
    /// What was used of it; its owner and admins.
    ReadUsage = "subscriptions.usage", Http("GET", "/v1/subscriptions/{id}/usage"), Reader, Some(SubscriptionsRead);
    /// A proof for a peer; its owner.
    IssueProof = "subscriptions.verify", Http("POST", "/v1/subscriptions/{id}/verify"), Writer, Some(ProofsIssue);
    /// Who is here.
    ListPeers = "peers.list", Http("GET", "/v1/peers"), Reader, Some(PeersRead);
    /// Where one peer stands.
    ReadPeer = "peers.read", Http("GET", "/v1/peers/{id}"), Reader, Some(PeersRead);
    /// How many are here.
    CountPeers = "peers.count", Http("GET", "/v1/presence"), Reader, Some(PeersRead);
    /// STUN and TURN servers for a peer, with its proof.
    ListIceServers = "ice_servers.list", Http("GET", "/v1/ice-servers"), Reader, Some(Connect);
    /// A one-use ticket.
    IssueTicket = "tickets.issue", Http("POST", "/v1/tickets"), Reader, Some(Connect);
    /// An API key for the tenant. Keys make no keys: a stolen one could give itself more than it has.
    CreateApiKey = "api_keys.create", Http("POST", "/v1/api-keys"), Admin, None;
    /// The tenant's API keys.
    ListApiKeys = "api_keys.list", Http("GET", "/v1/api-keys"), Admin, None;
    /// One of them.
    ReadApiKey = "api_keys.read", Http("GET", "/v1/api-keys/{id}"), Admin, None;
    /// Take one back.
    RevokeApiKey = "api_keys.revoke", Http("DELETE", "/v1/api-keys/{id}"), Admin, None;
    /// Another secret for one.
    RotateApiKey = "api_keys.rotate", Http("POST", "/v1/api-keys/{id}/rotate"), Admin, None;
    /// A WebSocket.
    OpenSocket = "connections.open_socket", Http("GET", "/v1/ws"), Connection, None;
    /// An event stream.
    OpenStream = "connections.open_stream", Http("GET", "/v1/stream"), Connection, None;
    /// Frames for an event stream, whose key is the right to send them.
    PostFrames = "connections.post_frames", Http("POST", "/v1/frames"), Connection, None;
    /// Take a peer's place; the peer's owner.
    Enter = "peers.enter", Frame("auth"), Reader, Some(Connect);
    /// Another token or proof for a live connection; the peer's owner.
    Renew = "peers.renew", Frame("refresh"), Reader, Some(Connect);
    /// Show being alive, look around, be in rooms, take what comes.
    Attend = "peers.attend", Frame("ping, ack, room, presence list, count, subscribe, unsubscribe"), Reader, Some(Connect);
    /// Say how one's own peer is.
    SetStatus = "peers.set_status", Frame("presence set_status"), Writer, Some(Connect);
    /// Say what one's own peer can.
    Describe = "peers.describe", Frame("presence describe"), Writer, Some(Connect);
    /// Open a WebRTC session.
    OpenSession = "sessions.open", Frame("session"), Writer, Some(Connect);
    /// Signal in a session; its members.
    Signal = "sessions.signal", Frame("signal"), Writer, Some(Connect);
    /// STUN and TURN servers for one's own peer.
    AskIceServers = "ice_servers.ask", Frame("ice_servers"), Writer, Some(Connect);
    /// Write to a peer.
    SendMessage = "messages.send", Frame("message"), Writer, Some(Connect);
    /// Speak in a room that one is in, or to one's own peers.
    Broadcast = "messages.broadcast", Frame("broadcast room, broadcast user (self)"), Writer, Some(Connect);
    /// Speak to another user's peers.
    BroadcastToUser = "messages.broadcast_to_user", Frame("broadcast user (another)"), Admin, Some(Connect);
    /// Speak to everybody of the tenant.
    BroadcastToTenant = "messages.broadcast_to_tenant", Frame("broadcast tenant"), Admin, Some(Connect);
}

impl Rule {
    /// Whether a caller with this role, and these scopes where it is an API key, may.
    pub(crate) fn allows(&self, role: Role, scopes: Option<&[ApiKeyScope]>) -> Result<(), Denied> {
        match (self.who, role) {
            (Who::Writer, Role::ReadOnly) => return Err(Denied::ReadOnly),
            (Who::Admin, Role::ReadOnly | Role::User) => return Err(Denied::NotAdmin),
            _ => {}
        }
        let is_open = matches!(self.who, Who::Anyone | Who::Connection);
        match (scopes, self.scope) {
            _ if is_open => Ok(()),
            (None, _) => Ok(()),
            (Some(_), None) => Err(Denied::NotByKey),
            (Some(scopes), Some(scope)) if !scopes.contains(&scope) => Err(Denied::Scope(scope)),
            (Some(_), Some(_)) => Ok(()),
        }
    }

    /// Whether the caller must be known before anything is done.
    pub(crate) fn needs_caller(&self) -> bool {
        !matches!(self.who, Who::Anyone | Who::Connection)
    }
}

/// The page of the table (Markdown), `docs/access.md`.
pub fn operations_page() -> String {
    let mut page = String::from(
        "# Who may do what\n\n\
         Every operation of the gateway, from the table that its routes are made of and that every request and frame is\n\
         checked against. Beyond the role, what belongs to a tenant is seen in that tenant alone, and what belongs to a user\n\
         (a subscription, a peer) is that user's and the administrators'. `operation` is the `action` in audit records.\n\n\
         | operation | where | who | scope of an API key |\n|---|---|---|---|\n",
    );
    for operation in Operation::ALL {
        let Rule { name, surface, who, scope } = operation.rule();
        let place = match surface {
            Http(method, path) => format!("`{method} {path}`"),
            Frame(frame) => format!("frame: {frame}"),
            Within(what) => format!("`{what}`"),
        };
        let who = match who {
            Who::Anyone => "anyone",
            Who::Connection => "anyone; its first frame is `peers.enter`",
            Who::Reader => "every role",
            Who::Writer => "`user`, `admin`",
            Who::Admin => "`admin`",
        };
        let scope = match scope {
            Some(scope) => format!("`{}`", scope.as_str()),
            None if operation.rule().needs_caller() => "not by API key".to_owned(),
            None => String::new(),
        };
        page += &format!("| `{name}` | {place} | {who} | {scope} |\n");
    }
    page
}
