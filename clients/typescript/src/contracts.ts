// @generated from libs/contracts by `cargo xtask bless`; don't edit.
//
// Optional fields may be missing or null. An open enum (`| (string & {})`) may hold values newer than this file.

/** The answer of `POST /v1/api-keys` and of a rotation. */
export interface ApiKeyIssued {
  /** Everything else about it. */
  key: ApiKeyView;
  /** The key to send as `Authorization: Bearer …`. Not shown again. */
  secret: string;
}

/** The answer of `GET /v1/api-keys`. */
export interface ApiKeyPage {
  /** The tenant's keys, oldest first, those that ended lately included. */
  keys: ApiKeyView[];
  /** Give it as `after` to get the next page; absent on the last one. */
  next?: string | null;
}

/** What whoever uses an API key is inside the tenant. */
export type ApiKeyRole = "admin" | "user" | "read_only";

/** What an API key may be used for, besides what its role allows. */
export type ApiKeyScope = "connect" | "peers:read" | "proofs:issue" | "subscriptions:read" | "subscriptions:write";

/** Where an API key stands. */
export type ApiKeyStatus = "active" | "expired" | "revoked";

/** An API key without its secret, which is shown once and not kept. */
export interface ApiKeyView {
  /** When it was made, Unix milliseconds. */
  created_at_ms: number;
  /** Who made it. */
  created_by: string;
  /** When it ends, Unix milliseconds. */
  expires_at_ms?: number | null;
  /** How its secret begins. */
  hint: string;
  /** Its name for programs. */
  key_id: string;
  /** When it was last used, Unix milliseconds; up to a minute late. */
  last_used_at_ms?: number | null;
  /** Its name for people. */
  name: string;
  /** Until when the secret before the last rotation is good too, Unix milliseconds. */
  previous_until_ms?: number | null;
  /** Most requests a minute, where the key has a limit of its own. */
  requests_per_minute?: number | null;
  /** When it was revoked, Unix milliseconds. */
  revoked_at_ms?: number | null;
  /** What its user is. */
  role: ApiKeyRole;
  /** What it may be used for. */
  scopes: ApiKeyScope[];
  /** Whether it can be used. */
  status: ApiKeyStatus;
  /** Whom it speaks for. */
  user_id: string;
}

/** What the auth frame's outcome carries. */
export interface AuthResult {
  /** Names the numbering of pushed frames on this connection. Another one than before: keep the new one. */
  epoch: string;
  /** Which of its connections this is. */
  generation: number;
  /** The number after which this connection's frames begin. */
  offset: number;
  /** The peer. */
  peer_id: string;
  /** What became of the resume; absent when none was asked for. */
  resume?: Resumed | null;
}

/** A peer's signature that ties the certificate of an SDP to its identity key. What is signed (Ed25519) is the text `synapse-fingerprint-v1`, the session, the sender, the receiver, the SDP's fingerprint (`sha-256 AA:BB:…`, upper-case digits) and `issued_at_s`, each on a line of its own, without a line end after the last. */
export interface Binding {
  /** When it was signed, Unix seconds. */
  issued_at_s: number;
  /** The identity key (Ed25519), 32 bytes as base64url without padding. */
  public_key: string;
  /** The signature, base64url without padding. */
  signature: string;
}

/** What one gateway process asks another. */
export type Call =
  | {
    do: "message";
    /** From whom. */
    from: string;
    /** What it says. */
    note: Note;
    /** For whom. */
    to: string;
  }
  | {
    do: "handover";
    /** The numbering that the client knows. */
    epoch: string;
    /** The last frame it took in. */
    offset: number;
    /** Which peer. */
    peer_id: string;
  }
  | {
    do: "ticket";
    /** The ticket. */
    ticket: string;
  }
  | {
    do: "frames";
    /** Each as the client wrote it. */
    frames: string[];
    /** The stream. */
    stream_key: string;
  }
  | {
    do: "unknown";
  }
  | (string & {});

/** Why a subscription was not ended. */
export type CancelRefusal =
  | {
    code: "not_found";
  }
  | {
    code: "not_owner";
  }
  | {
    code: "illegal_transition";
    /** The status it is in. */
    from: Status;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What of the catalogue changed. */
export type CatalogueObject = "price" | "product" | "unknown" | (string & {});

/** Why a plan was not changed. */
export type ChangePlanRefusal =
  | {
    code: "not_found";
  }
  | {
    code: "not_owner";
  }
  | {
    code: "illegal_transition";
    /** The status it is in. */
    from: Status;
  }
  | {
    /** What may be asked for. */
    allowed: string[];
    code: "unknown_price";
  }
  | {
    code: "idempotency_mismatch";
  }
  | {
    code: "payment_failed";
    /** What the client must do. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** An open checkout page. */
export interface Checkout {
  /** When the page closes, Unix milliseconds; absent where Stripe did not say. */
  expires_at_ms?: number | null;
  /** Stripe's session id (`cs_…`). */
  stripe_checkout_session_id: string;
  /** The subscription that it makes; it can be read once the customer has paid. */
  subscription_id: string;
  /** Where to send the browser. */
  url: string;
}

/** Why no checkout page was opened. */
export type CheckoutRefusal =
  | {
    /** What may be asked for. */
    allowed: string[];
    code: "unknown_price";
  }
  | {
    code: "invalid";
    /** One line per violation, `field: rule`. */
    violations: string[];
  }
  | {
    code: "idempotency_mismatch";
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What a client says. */
export type ClientFrame =
  | {
    /** Whether this client acknowledges messages; then their senders learn of it. */
    acks?: boolean;
    /** Names this frame. */
    id: string;
    /** The peer this connection speaks for. */
    peer_id: string;
    /** Its subscription proof. */
    proof?: string | null;
    /** What an earlier connection of this peer took in last. */
    resume?: Resume | null;
    /** A one-use ticket of `POST /v1/tickets` instead of the token. */
    ticket?: string | null;
    /** Access token (JWT). */
    token?: string | null;
    type: "auth";
  }
  | {
    /** Names this frame. */
    id: string;
    /** Subscription proof. */
    proof?: string | null;
    /** A one-use ticket instead of the token. */
    ticket?: string | null;
    /** Access token (JWT). */
    token?: string | null;
    type: "refresh";
  }
  | {
    /** Names this frame. */
    id: string;
    type: "ping";
  }
  | {
    /** Names this frame. */
    id: string;
    type: "presence";
  } & (
    | {
      action: "list";
      /** Where the last page ended. */
      after?: string | null;
      /** Those with this capability. */
      capability?: string | null;
      /** Those in this room. */
      room?: string | null;
      /** Those that come from the same public address as this connection. */
      same_network?: boolean;
      /** Those with this tag. */
      tag?: string | null;
    }
    | {
      action: "count";
      /** Also how many are in this room. */
      room?: string | null;
    }
    | {
      action: "describe";
      /** What I can do. */
      capabilities?: string[] | null;
      /** The public keys that prove who I am. */
      identity_keys?: IdentityKey[] | null;
      /** Words I can be found by. */
      tags?: string[] | null;
      /** How I can be reached, the best first. */
      transports?: Transport[] | null;
    }
    | {
      action: "set_status";
      /** `online` or `away`. */
      status: PeerStatus;
    }
    | {
      action: "subscribe";
      /** Those with this capability. */
      capability?: string | null;
      /** Those in this room. */
      room?: string | null;
      /** Those that come from the same public address as this connection. */
      same_network?: boolean;
      /** Those with this tag. */
      tag?: string | null;
    }
    | {
      action: "unsubscribe";
    }
  )
  | {
    /** Names this frame. */
    id: string;
    /** Further members, for a session of more than two. */
    others?: string[];
    /** With whom. */
    to: string;
    type: "session";
  }
  | {
    /** The sender's signature over its certificate, for offers and answers. */
    binding?: Binding | null;
    /** Names this frame. */
    id: string;
    /** Which session. */
    session_id: string;
    /** What to pass on. */
    signal: PeerSignal;
    /** Which member it is for; a session of two needs none. */
    to?: string | null;
    type: "signal";
  }
  | {
    /** Names this frame. */
    id: string;
    type: "ice_servers";
  }
  | {
    /** What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`. */
    action: string;
    /** Names this frame. */
    id: string;
    /** 1 to 10,000 characters. */
    message: string;
    /** The session it belongs to, if any. */
    session_id?: string | null;
    /** For whom. */
    to: string;
    type: "message";
  }
  | {
    /** What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`. */
    action: string;
    /** Names this frame. */
    id: string;
    /** 1 to 10,000 characters. */
    message: string;
    /** The session it belongs to, if any. */
    session_id?: string | null;
    type: "broadcast";
  } & (
    | {
      scope: "tenant";
    }
    | {
      scope: "user";
      /** Which user. */
      user_id: string;
    }
    | {
      /** Which room. */
      room: string;
      scope: "room";
    }
  )
  | {
    /** Which of the two. */
    action: RoomAction;
    /** Names this frame. */
    id: string;
    /** Which room: 1 to 100 characters of `[A-Za-z0-9_-]`. */
    room: string;
    type: "room";
  }
  | {
    /** Names this frame. */
    id: string;
    /** The last frame's offset. */
    offset: number;
    type: "ack";
  };

/** Why a peer may not connect. */
export type ConnectRefusal =
  | {
    code: "not_owner";
  }
  | {
    code: "too_many_peers";
    /** How many that is. */
    limit: number;
  }
  | {
    code: "invalid_transition";
    /** How it should have begun. */
    to: PeerStatus;
  }
  | {
    code: "invalid";
    /** Every rule that is broken, each as `field: rule`. */
    violations: string[];
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** The peer's place is taken. */
export interface Connected {
  /** The number of this connection among the peer's; heartbeats and leaves carry it. */
  generation: number;
  /** How long the lease lasts without a heartbeat, milliseconds. */
  lease_ms: number;
  /** The name of its network, where its address was told. */
  network?: string | null;
}

/** Why a count was refused. */
export type CountRefusal =
  | {
    code: "invalid";
    /** Which field and rule. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** `POST /v1/api-keys`. */
export interface CreateApiKey {
  /** When it ends, Unix milliseconds. Default: never. */
  expires_at_ms?: number | null;
  /** For people: 1 to 100 characters. */
  name: string;
  /** Most requests a minute, 1 to 1,000,000. Default: the limit that every caller has. */
  requests_per_minute?: number | null;
  /** What its user is. Default: `read_only`. */
  role?: ApiKeyRole;
  /** What it may be used for: at least one. */
  scopes: ApiKeyScope[];
  /** Whom it speaks for. Default: whoever creates it. */
  user_id?: string | null;
}

/** Why a subscription was not created. */
export type CreateRefusal =
  | {
    /** What may be asked for. */
    allowed: string[];
    code: "unknown_price";
  }
  | {
    code: "invalid_metadata";
    /** One line per violation. */
    violations: string[];
  }
  | {
    code: "invalid";
    /** One line per violation, `field: rule`. */
    violations: string[];
  }
  | {
    code: "idempotency_mismatch";
  }
  | {
    code: "payment_failed";
    /** What the client must do. */
    message: string;
  }
  | {
    code: "payment_action_required";
    /** What the client must do. */
    payment: PaymentStep;
    /** The subscription that waits. */
    subscription_id: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** `POST /v1/subscriptions`, with an Idempotency-Key header. */
export interface CreateSubscription {
  /** For Stripe's receipts. */
  email?: string | null;
  /** Yours to use. */
  metadata?: Record<string, string>;
  /** Stripe's payment method (`pm_…`), where one is known already. */
  payment_method_id?: string | null;
  /** A Stripe price on the allow-list. */
  price_id: string;
}

/** Why a description was refused. */
export type DescribeRefusal =
  | {
    code: "unknown_peer";
  }
  | {
    code: "stale_generation";
  }
  | {
    code: "invalid";
    /** Every rule that is broken, each as `field: rule`. */
    violations: string[];
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** Why a leave was refused. */
export type DisconnectRefusal =
  | {
    code: "unknown_peer";
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** Whether the peer went offline by it. */
export interface Disconnected {
  /** False when a newer connection stands or the peer was offline already. */
  went_offline: boolean;
}

/** Why a request could not be decided. */
export interface Failure {
  /** What happened, for people. */
  message: string;
  /** Milliseconds to wait before trying again, where known. */
  retry_after_ms?: number | null;
  /** Whether the same request may succeed later. */
  retryable: boolean;
}

/** What became of a signal that was kept. */
export type Fate = "delivered" | "expired" | "unknown" | (string & {});

/** The signal was taken. */
export interface Forwarded {
  /** Until when it is kept, Unix milliseconds; only where it is. */
  kept_until_ms?: number | null;
  /** Whether the other peer has it already; see [`Forwarded::whereabouts`]. */
  outcome?: Whereabouts | null;
  /** Names it in its receipt. */
  signal_id?: string | null;
  /** To whom. */
  to: string;
}

/** A broadcast on its way. Addressed by tenant; every gateway process hands it to those of its peers it is for. */
export type GatewayBroadcastV1 = {
  /** What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`. */
  action: string;
  /** Who sends it; gets none itself. */
  from: string;
  /** 1 to 10,000 characters. */
  message: string;
  /** The session it belongs to, if any. */
  session_id?: string | null;
} & (
  | {
    scope: "tenant";
  }
  | {
    scope: "user";
    /** Which user. */
    user_id: string;
  }
  | {
    /** Which room. */
    room: string;
    scope: "room";
  }
);

/** One gateway process asks another by its node id; the answer is a [`ReplyV1`] with the same `call_id`. Who is gone does not answer: the asker waits only so long. */
export interface GatewayCallV1 {
  /** What. */
  call: Call;
  /** Names the call. */
  call_id: string;
  /** Who asks, and gets the reply. */
  reply_to: string;
}

/** Close every connection that a subscription's older proofs opened. Sent to [`crate::signals::EVERYBODY`] after the revocation was committed; a process that misses it refuses the proofs by its store and when they expire. */
export interface GatewayEntitlementLostV1 {
  /** Proofs whose `ver` is smaller are void. */
  min_ver: number;
  /** Why, for people. */
  reason: string;
  /** Which subscription. */
  subscription_id: string;
  /** When the record may be dropped, Unix milliseconds. */
  until_ms: number;
}

/** The answer to a [`CallV1`], addressed to who asked. */
export interface GatewayReplyV1 {
  /** The call's. */
  call_id: string;
  /** The answer. */
  reply: Reply;
}

/** Peers of a subscription sent data through the gateway. */
export interface GatewayUsageRecordedV1 {
  /** How much, of whom, when. */
  usage: Usage;
}

/** Why a subscription was not told. */
export type GetRefusal =
  | {
    code: "not_found";
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** One peer that was heard of. */
export interface HeartbeatPeer {
  /** On which connection. */
  generation: number;
  /** Which peer. */
  peer_id: string;
}

/** What a gateway allows, so that clients need not guess. */
export interface HelloLimits {
  /** How long a message waits for its receiver's ack, milliseconds. */
  ack_within_ms: number;
  /** Malformed frames in a row, after which the connection is closed with 4400. */
  bad_frames: number;
  /** Largest message, bytes. */
  frame_bytes: number;
  /** Most pushed frames kept for a resume. */
  history_frames: number;
  /** How long they are kept, milliseconds. */
  history_ttl_ms: number;
  /** Messages and broadcasts without an outcome; more are refused with `rate_limited`. */
  pending_messages: number;
  /** Rooms that a connection may be in. */
  rooms: number;
}

/** One entry of a browser's `iceServers`. */
export interface IceServer {
  /** The password; only with TURN. */
  credential?: string | null;
  /** `stun:`, `stuns:`, `turn:` or `turns:` (RFC 7064, RFC 7065). */
  urls: string[];
  /** `<expiry, Unix seconds>:<peer>`; only with TURN. */
  username?: string | null;
}

/** The servers. */
export interface IceServers {
  /** Until when new connections may use the credentials, Unix milliseconds; ask again before. */
  expires_at_ms: number;
  /** As `RTCPeerConnection` takes them. */
  ice_servers: IceServer[];
}

/** Why no servers were told. */
export type IceServersRefusal =
  | {
    code: "proof_refused";
    /** Which rule it breaks. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** A public key that proves who a peer is. */
export interface IdentityKey {
  /** The key, base64url without padding (RFC 4648 §5): 32 bytes of `ed25519` (RFC 8032) and `x25519` (RFC 7748), 65 of `p256` (uncompressed, SEC 1 §2.3.3). */
  key: string;
  /** Which kind. */
  kind: KeyKind;
}

/** A pushed frame that is kept for a resume. */
export interface KeptFrame {
  /** The frame. */
  frame: ServerFrame;
  /** The id of the message that brought it: what came by two ways is told once. */
  source: string;
}

/** Kinds of identity keys. */
export type KeyKind = "ed25519" | "x25519" | "p256" | "unknown" | (string & {});

/** Why a listing was refused. */
export type ListRefusal =
  | {
    code: "invalid_page";
    /** Which field and rule. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** Why a peer was not told. */
export type LookupRefusal =
  | {
    code: "unknown_peer";
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What a reachable peer is found by. For processes of the platform only: a room's name opens the room, and a network's name tells who sits together. */
export interface Marks {
  /** Its capabilities. */
  capabilities?: string[];
  /** The name of its network: a keyed hash of its public address, different in every tenant. */
  network?: string | null;
  /** Rooms it is in. */
  rooms?: string[];
  /** Its tags. */
  tags?: string[];
}

/** The keys are public; nobody is refused. */
export type NeverRefused =
  | {
    code: "unknown";
  }
  | (string & {});

/** What a message says, to one or to many. */
export interface Note {
  /** What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`. */
  action: string;
  /** 1 to 10,000 characters. */
  message: string;
  /** The session it belongs to, if any. */
  session_id?: string | null;
}

/** Why a peer went offline. */
export type OfflineReason = "left" | "timed_out" | "entitlement_lost" | "unknown" | (string & {});

/** Why no session was opened. */
export type OpenSessionRefusal =
  | {
    code: "unknown_peer";
  }
  | {
    code: "peer_offline";
  }
  | {
    code: "same_peer";
  }
  | {
    code: "too_many_peers";
    /** How many it takes, the opener included. */
    limit: number;
  }
  | {
    code: "proof_refused";
    /** Which rule it breaks. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What became of a client frame. */
export type Outcome = "accepted" | "delivered" | "queued" | "expired" | "refused";

/** How a payment that waits for the customer goes on: with either of them. */
export interface PaymentStep {
  /** For Stripe.js: the payment intent's client secret. Give it to nobody but the customer. */
  client_secret?: string | null;
  /** A page of Stripe's on which the customer pays. */
  hosted_invoice_url?: string | null;
}

/** What happened to a peer, as one who watches sees it: with a choice, coming into it is to join. */
export type PeerChange = "joined" | "left" | "updated" | "unknown" | (string & {});

/** How many are here. */
export interface PeerCounts {
  /** Peers of the tenant that are not offline. */
  here: number;
  /** Those at the gateway process that was asked for. */
  node?: number | null;
  /** Those in the room that was asked for. */
  room?: number | null;
}

/** By what peers are chosen; everything that is set must hold. */
export interface PeerFilter {
  /** With this capability. */
  capability?: string | null;
  /** In the network that presence gave this name (`network` of [`super::Connected`]). */
  network?: string | null;
  /** In this room. */
  room?: string | null;
  /** With this tag. */
  tag?: string | null;
}

/** A page of peers. It may hold fewer than asked for, even none, while `next` says that more may follow. */
export interface PeerPage {
  /** Set while more may follow. */
  next?: string | null;
  /** The peers. */
  peers: PeerView[];
}

/** What two peers tell each other to connect (JSEP, RFC 8829; ICE, RFC 8839). */
export type PeerSignal =
  | {
    /** Counts the session's negotiations, from 1. */
    generation: number;
    /** At most 256 KiB. */
    sdp: string;
    type: "offer";
  }
  | {
    /** The offer's. */
    generation: number;
    /** At most 256 KiB. */
    sdp: string;
    type: "answer";
  }
  | {
    /** `candidate:…`, at most 4 KiB. */
    candidate: string;
    /** The negotiation it belongs to. */
    generation: number;
    /** The media section it belongs to. */
    sdp_mid?: string | null;
    type: "candidate";
  }
  | {
    /** The next negotiation. */
    generation: number;
    type: "restart";
  }
  | {
    /** For people, at most 200 characters. */
    reason?: string | null;
    type: "bye";
  }
  | {
    type: "unknown";
  }
  | (string & {});

/** Where a peer stands. */
export type PeerStatus = "connecting" | "online" | "away" | "offline" | "unknown" | (string & {});

/** A peer as others may see it. */
export interface PeerView {
  /** Which of its connections this is about. */
  generation: number;
  /** When its lease ends unless it is heard of, Unix milliseconds. */
  lease_until_ms: number;
  /** The gateway process that holds its connection. */
  node_id: string;
  /** Which peer. */
  peer_id: string;
  /** What it tells of itself. */
  profile?: Profile;
  /** The `ver` of the proof it connected with; a revocation above it ends the entitlement. */
  proof_ver: number;
  /** Where it stands. */
  status: PeerStatus;
  /** The subscription that entitles it. */
  subscription_id: string;
}

/** Something that may be bought. */
export interface PlanView {
  /** What it includes. */
  features: string[];
  /** How long access goes on after a payment failed, milliseconds. */
  grace_ms: number;
  /** What it limits, by name; what is not here is not limited. */
  limits: Record<string, number>;
  /** Its name. */
  name: string;
  /** The Stripe prices it may be bought by. */
  price_ids: string[];
}

/** What is on offer. */
export interface Plans {
  /** In the order of the configuration, a tenant's own first. */
  plans: PlanView[];
}

/** How the catalogue compares with Stripe. */
export interface PlansReport {
  /** Whether it is about real money. */
  livemode: boolean;
  /** Whether everything can be sold. */
  ok: boolean;
  /** Every price in this mode. */
  prices: PriceReport[];
}

/** An open portal page; Stripe closes it after a few minutes. */
export interface Portal {
  /** Where to send the browser. */
  url: string;
}

/** Why no portal page was opened. */
export type PortalRefusal =
  | {
    code: "no_customer";
  }
  | {
    code: "invalid";
    /** One line per violation, `field: rule`. */
    violations: string[];
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** A peer came, went, changed its status, told of itself or changed rooms. Addressed by tenant; every gateway process takes it, and whoever keeps what presence said. */
export interface PresenceChangedV1 {
  /** What it was found by before; absent when it was not here. */
  before?: Marks | null;
  /** What it is found by now; absent when it is gone. */
  marks?: Marks | null;
  /** The peer as it is now. */
  peer: PeerView;
}

/** A peer has connected to a gateway. A newer connection of the same peer replaces the older one. */
export interface PresenceConnectV1 {
  /** The public address it comes from. Only a keyed hash of it is kept, to tell who shares a network. */
  address?: string | null;
  /** The connection; the same one again changes nothing. */
  connection_id: string;
  /** Most peers that may be here under this subscription at once (`peers` of its proof's limits). */
  max_peers?: number | null;
  /** The gateway process that holds the connection. */
  node_id: string;
  /** Which peer. */
  peer_id: string;
  /** What it tells of itself. */
  profile?: Profile;
  /** `ver` of its proof. */
  proof_ver: number;
  /** `connecting` for a peer that is not ready yet and says `online` itself; `online` unless set. */
  status?: PeerStatus | null;
  /** The subscription that entitles it (`sid` of its proof). */
  subscription_id: string;
  /** Whose it is. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceConnectV1Reply =
  | {
    ok: Connected;
  }
  | {
    refused: ConnectRefusal;
  }
  | {
    failed: Failure;
  };

/** How many peers of the tenant are here? Answered from counters, however many there are. */
export interface PresenceCountV1 {
  /** Also how many are at this gateway process. */
  node_id?: string | null;
  /** Also how many are in this room. */
  room?: string | null;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceCountV1Reply =
  | {
    ok: PeerCounts;
  }
  | {
    refused: CountRefusal;
  }
  | {
    failed: Failure;
  };

/** A connected peer tells of itself. What is left out stays as it was; what is given replaces it whole. */
export interface PresenceDescribeV1 {
  /** Its capabilities. */
  capabilities?: string[] | null;
  /** On which connection. */
  generation: number;
  /** The public keys that prove who it is. */
  identity_keys?: IdentityKey[] | null;
  /** Which peer. */
  peer_id: string;
  /** The rooms it is in, from its gateway: at most 24 of 1 to 100 characters of `[A-Za-z0-9_-]`. */
  rooms?: string[] | null;
  /** Its tags. */
  tags?: string[] | null;
  /** How it can be reached. */
  transports?: Transport[] | null;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceDescribeV1Reply =
  | {
    ok: PeerView;
  }
  | {
    refused: DescribeRefusal;
  }
  | {
    failed: Failure;
  };

/** A connection has ended. A stale generation changes nothing. */
export interface PresenceDisconnectV1 {
  /** Which connection. */
  generation: number;
  /** Which peer. */
  peer_id: string;
  /** Why. */
  reason: OfflineReason;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceDisconnectV1Reply =
  | {
    ok: Disconnected;
  }
  | {
    refused: DisconnectRefusal;
  }
  | {
    failed: Failure;
  };

/** A gateway has heard from these peers. Sent to [`crate::signals::EVERYBODY`]; one presence process takes it. */
export interface PresenceHeartbeatV1 {
  /** The gateway process. */
  node_id: string;
  /** At most 500 peers of one tenant. */
  peers: HeartbeatPeer[];
}

/** Who is here? Peers of the tenant that are not offline, by id. */
export interface PresenceListV1 {
  /** Only those that share a network with this public address. */
  address?: string | null;
  /** Where the last page ended. */
  after?: string | null;
  /** Only those. */
  filter?: PeerFilter;
  /** Peers a page, 1 to 100. */
  limit: number;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceListV1Reply =
  | {
    ok: PeerPage;
  }
  | {
    refused: ListRefusal;
  }
  | {
    failed: Failure;
  };

/** Where is that peer? */
export interface PresenceLookupV1 {
  /** Which peer. */
  peer_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceLookupV1Reply =
  | {
    ok: PeerView;
  }
  | {
    refused: LookupRefusal;
  }
  | {
    failed: Failure;
  };

/** A reachable peer tells other things of itself than before: tags, capabilities, transports or identity keys. */
export interface PresencePeerDescribedV1 {
  /** On which connection. */
  generation: number;
  /** Which peer. */
  peer_id: string;
  /** All that it tells of itself now. */
  profile: Profile;
}

/** A reachable peer changed its status. */
export interface PresencePeerStatusChangedV1 {
  /** On which connection. */
  generation: number;
  /** Which peer. */
  peer_id: string;
  /** Its new status. */
  status: PeerStatus;
}

/** A peer is gone. */
export interface PresencePeerWentOfflineV1 {
  /** The connection that ended. */
  generation: number;
  /** Which peer. */
  peer_id: string;
  /** Why. */
  reason: OfflineReason;
}

/** A peer is reachable at a gateway. */
export interface PresencePeerWentOnlineV1 {
  /** Counts the peer's connections; a newer one has a larger number. */
  generation: number;
  /** The gateway process that holds its connection. */
  node_id: string;
  /** Which peer. */
  peer_id: string;
  /** What it tells of itself. */
  profile?: Profile;
  /** The subscription that entitles it. */
  subscription_id: string;
}

/** A connected peer changes its own status. */
export interface PresenceSetStatusV1 {
  /** On which connection. */
  generation: number;
  /** Which peer. */
  peer_id: string;
  /** `online` or `away`. */
  status: PeerStatus;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type PresenceSetStatusV1Reply =
  | {
    ok: PeerView;
  }
  | {
    refused: SetStatusRefusal;
  }
  | {
    failed: Failure;
  };

/** What Stripe says of one price. */
export interface PriceReport {
  /** The plan that is billed by it. */
  plan: string;
  /** The price. */
  price_id: string;
  /** What is wrong with it and what to do; empty when it can be sold. */
  problems: string[];
  /** Whose plan it is; empty for everybody's. */
  tenants?: string[];
}

/** An error as RFC 9457 writes it (`application/problem+json`), with our extensions. */
export interface Problem {
  /** Stable code for programs. */
  code: string;
  /** Ties together everything that one call caused. */
  correlation_id: string;
  /** Internals; only in development mode. */
  debug?: string | null;
  /** What happened this time and what to do about it. */
  detail?: string | null;
  /** Names this occurrence; quote it to support. */
  error_id: string;
  /** Seconds to wait before trying again, where known. */
  retry_after_s?: number | null;
  /** The HTTP status. */
  status: number;
  /** What the caller can do. */
  suggestion?: string | null;
  /** RFC 3339. */
  timestamp: string;
  /** The same in a few words. */
  title: string;
  /** A URI that names the kind of problem; its page explains it. */
  type: string;
  /** Every rule that was broken, all at once. */
  violations?: Violation[];
}

/** What a peer tells others of itself. It lasts as long as the connection it was told on. */
export interface Profile {
  /** What it can do (`video`, `file:v2`): as many and as long as tags. */
  capabilities?: string[];
  /** The public keys that prove who it is: at most 2, the one in use first. */
  identity_keys?: IdentityKey[];
  /** Words it can be found by (`team-a`): at most 10 of 1 to 50 characters of `[A-Za-z0-9_.:-]`. */
  tags?: string[];
  /** How it can be reached, the best first: at most 8. */
  transports?: Transport[];
}

/** A signed proof. */
export interface ProofIssued {
  /** When it ends, Unix milliseconds. */
  expires_at_ms: number;
  /** The JWS (`typ: sub-proof+jwt`). */
  proof: string;
  /** When to ask for the next one, Unix milliseconds (60 % of its life). */
  refresh_at_ms: number;
}

/** A public Ed25519 key that verifies proofs. */
export interface ProofKey {
  /** Names the key in a proof's header. */
  kid: string;
  /** Proofs signed with it may be trusted until then, Unix milliseconds. */
  not_after_ms: number;
  /** The 32 bytes of the public key, base64url without padding (RFC 8037 `x`). */
  public_key: string;
}

/** A key that proofs are signed with is not to be trusted any more, whatever its `not_after_ms` said. */
export interface ProofKeyWithdrawnV1 {
  /** The key's name. */
  kid: string;
  /** Why, for people. */
  reason: string;
  /** When its last proof would have ended, Unix milliseconds; the name may be forgotten then. */
  until_ms: number;
}

/** Keys for proofs. */
export interface ProofKeys {
  /** All that may verify now. */
  keys: ProofKey[];
}

/** Proofs of a subscription below a version are void from now on. */
export interface ProofRevokedV1 {
  /** Proofs whose `ver` is smaller are refused. */
  min_ver: number;
  /** Why, for people: `canceled`, `unpaid`, … */
  reason: string;
  /** Which subscription (`sid` in the proof). */
  subscription_id: string;
  /** When the last of them has expired anyway, Unix milliseconds; the record may be dropped then. */
  until_ms: number;
}

/** What verifiers must know. */
export interface ProofSnapshot {
  /** Every key that may verify now or soon; the same on every page. */
  keys: ProofKey[];
  /** Set while more may follow. */
  next?: string | null;
  /** Revocations in force. */
  revocations: ProofRevokedV1[];
  /** Keys that were withdrawn before their time; the same on every page. */
  withdrawn?: ProofKeyWithdrawnV1[];
}

/** Tells a sender what became of a signal whose outcome was `queued`. */
export interface Receipt {
  /** What became of it. */
  fate: Fate;
  /** Of which session. */
  session_id: string;
  /** Which signal. */
  signal_id: string;
  /** For whom it was. */
  to: string;
}

/** How much a reconciliation compares. */
export type ReconcileMode = "sweep" | "backfill" | "unknown" | (string & {});

/** What a gateway process answers another. */
export type Reply =
  | {
    is: "delivered";
  }
  | {
    is: "expired";
  }
  | {
    is: "nothing";
  }
  | {
    is: "busy";
  }
  | {
    is: "taken";
  }
  | {
    /** Whether it is all of it. */
    complete: boolean;
    /** Of whom. */
    filter?: PeerFilter;
    /** What was pushed after the offset, in order. */
    frames: KeptFrame[];
    is: "history";
    /** The rooms it was in. */
    rooms: string[];
    /** Sources of what was pushed lately, in or before `frames`: the new holder may have got them too. */
    seen: string[];
    /** Whether it wanted to know who comes and goes. */
    subscribed: boolean;
  }
  | {
    is: "token";
    /** The token. */
    token: string;
  }
  | {
    is: "unknown";
  }
  | (string & {});

/** Why a quota holds no longer. */
export type RestoredBecause = "window_ended" | "plan_grew" | "unknown" | (string & {});

/** The last pushed frame that a client took in. */
export interface Resume {
  /** The epoch that the auth frame's result named. */
  epoch: string;
  /** The offset of the last frame taken in; 0 for none. */
  offset: number;
}

/** Why a subscription was not resumed. */
export type ResumeRefusal =
  | {
    code: "not_found";
  }
  | {
    code: "not_owner";
  }
  | {
    code: "illegal_transition";
    /** The status it is in. */
    from: Status;
  }
  | {
    code: "payment_failed";
    /** What the client must do. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What became of a resume. */
export type Resumed = "recovered" | "gap";

/** Into a room or out of it. */
export type RoomAction = "join" | "leave";

/** `POST /v1/api-keys/{id}/rotate`. */
export interface RotateApiKey {
  /** How long the secret of before stays good, milliseconds, 0 to 604,800,000 (7 days). Default: 86,400,000 (a day). */
  overlap_ms?: number | null;
}

/** Whom a broadcast is for. The sender itself gets none. */
export type Scope =
  | {
    scope: "tenant";
  }
  | {
    scope: "user";
    /** Which user. */
    user_id: string;
  }
  | {
    /** Which room. */
    room: string;
    scope: "room";
  };

/** Why a signal was not passed on. */
export type SendRefusal =
  | {
    code: "unknown_session";
  }
  | {
    code: "not_member";
  }
  | {
    code: "peer_offline";
  }
  | {
    code: "target_needed";
  }
  | {
    /** Most bytes. */
    bytes: number;
    code: "mailbox_full";
    /** When it is worth another try, milliseconds. */
    retry_after_ms: number;
    /** Most signals that are kept for a peer. */
    signals: number;
  }
  | {
    code: "identity_mismatch";
    /** Which rule is broken, and what to do. */
    message: string;
  }
  | {
    code: "invalid_signal";
    /** One line per violation: field, rule. */
    violations: string[];
  }
  | {
    code: "stale_generation";
    /** The session's current one. */
    current: number;
  }
  | {
    code: "proof_refused";
    /** Which rule it breaks. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** What the gateway says. Frames with an `offset` are numbered, kept for a while and told again after a resume. */
export type ServerFrame =
  | {
    /** Send an auth frame within this time, milliseconds. */
    auth_within_ms: number;
    /** Names the connection. */
    connection_id: string;
    /** Send a frame (a ping, for want of another) at least this often, milliseconds. */
    heartbeat_ms: number;
    /** What this gateway allows. */
    limits: HelloLimits;
    /** The negotiated protocol. */
    protocol: string;
    /** Only on an event stream: the secret that names it in `POST /v1/frames`. */
    stream_key?: string | null;
    type: "hello";
  }
  | {
    /** The client frame's id; absent when it could not be read. */
    id?: string | null;
    /** The one outcome. */
    outcome: Outcome;
    /** Why it was refused. */
    problem?: Problem | null;
    /** What was asked for, where something was. */
    result?: unknown;
    type: "outcome";
  }
  | {
    /** What happened. */
    change?: PeerChange | null;
    /** Its number in the epoch. */
    offset: number;
    /** The peer as it is now. */
    peer: PeerView;
    type: "presence";
  }
  | {
    /** The sender's signature over its certificate, for who knows its identity key. */
    binding?: Binding | null;
    /** From whom. */
    from: string;
    /** Its number in the epoch. */
    offset: number;
    /** Every member, where the session has more than two. */
    peers?: string[];
    /** Whether this side yields when both offer at once. */
    polite: boolean;
    /** Which session. */
    session_id: string;
    /** What it says. */
    signal: PeerSignal;
    /** Names it: what comes again under the same id is the same signal. */
    signal_id?: string | null;
    type: "signal";
  }
  | {
    /** What became of it. */
    fate: Fate;
    /** Its number in the epoch. */
    offset: number;
    /** Of which session. */
    session_id: string;
    /** Which signal. */
    signal_id: string;
    /** For whom it was. */
    to: string;
    type: "receipt";
  }
  | {
    /** What the receiver is to make of it: 1 to 50 characters of `[A-Za-z0-9_]`. */
    action: string;
    /** Set on broadcasts: whom it was for. */
    broadcast?: Scope | null;
    /** From whom; the gateway's word, never the sender's. */
    from: string;
    /** 1 to 10,000 characters. */
    message: string;
    /** Its number in the epoch. */
    offset: number;
    /** The session it belongs to, if any. */
    session_id?: string | null;
    type: "message";
  }
  | {
    /** The close code that follows. */
    code: number;
    /** A stable word for programs (`entitlement_lost`). */
    reason: string;
    /** Whether reconnecting helps, and after how long, milliseconds. */
    reconnect_after_ms?: number | null;
    type: "closing";
  };

/** Why a session ended. */
export type SessionEnd = "bye" | "peer_lost" | "timed_out" | "not_answered" | "unknown" | (string & {});

/** The session stands. */
export interface SessionOpened {
  /** Whether the opener yields when both offer at once (perfect negotiation); the other side has the other role. */
  polite: boolean;
  /** Every member but the opener with the opener's role towards it, where there are more than two. */
  roles?: SessionRole[];
  /** Its id. */
  session_id: string;
}

/** The opener's role towards one member. */
export interface SessionRole {
  /** Which member. */
  peer_id: string;
  /** Whether the opener yields to it when both offer at once. */
  polite: boolean;
}

/** Why a status was not changed. */
export type SetStatusRefusal =
  | {
    code: "unknown_peer";
  }
  | {
    code: "stale_generation";
  }
  | {
    code: "invalid_transition";
    /** Where it stands. */
    from: PeerStatus;
    /** Where it should have gone. */
    to: PeerStatus;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** A signal for a peer. Addressed to the gateway process that holds its connection. */
export interface SignalingDeliverV1 {
  /** The sender's signature over its certificate, as it came. */
  binding?: Binding | null;
  /** From whom; stamped by signaling, never by the sender. */
  from: string;
  /** Every member, where the session has more than two. */
  peers?: string[];
  /** Whether the receiver yields when both offer at once. */
  polite: boolean;
  /** Who waits to hear whether the peer took it (`signaling.taken.v1`). */
  reply_to?: string | null;
  /** Which session. */
  session_id: string;
  /** What it says. */
  signal: PeerSignal;
  /** Names it: what comes again under the same id is the same signal. */
  signal_id?: string | null;
  /** For whom. */
  to: string;
}

/** Which servers help to connect (RFC 8825 §3; W3C `RTCIceServer`)? With credentials made for this peer. */
export interface SignalingIceServersV1 {
  /** For whom. */
  peer_id: string;
  /** Its subscription proof. */
  proof: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SignalingIceServersV1Reply =
  | {
    ok: IceServers;
  }
  | {
    refused: IceServersRefusal;
  }
  | {
    failed: Failure;
  };

/** Open a session with another peer, or with several. */
export interface SignalingOpenSessionV1 {
  /** Who opens it. */
  from: string;
  /** Further members. Each of them gets its own negotiation with each other. */
  others?: string[];
  /** The opener's subscription proof. */
  proof: string;
  /** With whom. */
  to: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SignalingOpenSessionV1Reply =
  | {
    ok: SessionOpened;
  }
  | {
    refused: OpenSessionRefusal;
  }
  | {
    failed: Failure;
  };

/** A receipt for a peer that sent a signal. Addressed to the gateway process that holds its connection. */
export interface SignalingReceiptV1 {
  /** What became of it. */
  receipt: Receipt;
  /** Names the receipt itself; what comes again under the same id is the same. */
  receipt_id: string;
  /** Who waits to hear whether the peer took it (`signaling.taken.v1` with the receipt's id). */
  reply_to: string;
  /** Who sent the signal. */
  sender: string;
}

/** Pass a signal on to the other peer of a session. */
export interface SignalingSendV1 {
  /** The sender's signature over its certificate, for offers and answers. */
  binding?: Binding | null;
  /** Who sends. */
  from: string;
  /** The sender's subscription proof. */
  proof: string;
  /** Which session. */
  session_id: string;
  /** What to pass on. */
  signal: PeerSignal;
  /** Which member it is for; a session of two needs none. */
  to?: string | null;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SignalingSendV1Reply =
  | {
    ok: Forwarded;
  }
  | {
    refused: SendRefusal;
  }
  | {
    failed: Failure;
  };

/** A session is over. */
export interface SignalingSessionEndedV1 {
  /** Who ended it, where somebody did. */
  by?: string | null;
  /** Why. */
  reason: SessionEnd;
  /** Which session. */
  session_id: string;
}

/** A session between peers was opened. */
export interface SignalingSessionOpenedV1 {
  /** Its members; the first one opened it. */
  peers: string[];
  /** Which session. */
  session_id: string;
}

/** Whether a gateway process could give a peer what it was sent. Addressed to the signaling process that asked. */
export interface SignalingTakenV1 {
  /** Which signal. */
  signal_id: string;
  /** False: the peer is not here. */
  taken: boolean;
}

/** Stripe's subscription statuses. A status we don't know is kept as text elsewhere and fails closed. */
export type Status = "incomplete" | "incomplete_expired" | "trialing" | "active" | "past_due" | "unpaid" | "paused" | "canceled" | "unknown" | (string & {});

/** End a subscription, now or with its paid period. Ending what has ended changes nothing. */
export interface SubscriptionCancelV1 {
  /** With the paid period rather than now. */
  at_period_end: boolean;
  /** Whether they may change those of others in their tenant. */
  is_admin?: boolean;
  /** Which subscription. */
  subscription_id: string;
  /** Who asks. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionCancelV1Reply =
  | {
    ok: SubscriptionView;
  }
  | {
    refused: CancelRefusal;
  }
  | {
    failed: Failure;
  };

/** Bill a subscription by another price. The same idempotency key of the same user changes it once. */
export interface SubscriptionChangePlanV1 {
  /** The caller's Idempotency-Key. */
  idempotency_key: string;
  /** Whether they may change those of others in their tenant. */
  is_admin?: boolean;
  /** A Stripe price on the allow-list. */
  price_id: string;
  /** Which subscription. */
  subscription_id: string;
  /** Who asks. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionChangePlanV1Reply =
  | {
    ok: SubscriptionView;
  }
  | {
    refused: ChangePlanRefusal;
  }
  | {
    failed: Failure;
  };

/** Compare every price of the catalogue with Stripe's. */
export type SubscriptionCheckPlansV1 = Record<string, never>;

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionCheckPlansV1Reply =
  | {
    ok: PlansReport;
  }
  | {
    refused: NeverRefused;
  }
  | {
    failed: Failure;
  };

/** Open a checkout page on which a user buys a subscription. The same idempotency key of the same user gives the same page. */
export interface SubscriptionCreateCheckoutV1 {
  /** Where it goes when the customer turns back; on the list of return URLs. */
  cancel_url: string;
  /** The customer's e-mail address, for Stripe's receipts. */
  email?: string | null;
  /** The caller's Idempotency-Key. */
  idempotency_key: string;
  /** As in `subscription.create.v1`. */
  metadata?: Record<string, string>;
  /** A Stripe price on the allow-list. */
  price_id: string;
  /** Where the browser goes when it is paid; on the list of return URLs. */
  success_url: string;
  /** Who buys. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionCreateCheckoutV1Reply =
  | {
    ok: Checkout;
  }
  | {
    refused: CheckoutRefusal;
  }
  | {
    failed: Failure;
  };

/** Open the page on which a user manages payment methods, invoices and subscriptions. */
export interface SubscriptionCreatePortalV1 {
  /** Where the browser goes afterwards; on the list of return URLs. */
  return_url: string;
  /** Whose. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionCreatePortalV1Reply =
  | {
    ok: Portal;
  }
  | {
    refused: PortalRefusal;
  }
  | {
    failed: Failure;
  };

/** Create a subscription; the same idempotency key of the same user gives the same one. */
export interface SubscriptionCreateV1 {
  /** The customer's e-mail address, for Stripe's receipts. */
  email?: string | null;
  /** The caller's Idempotency-Key. */
  idempotency_key: string;
  /** Up to 45 pairs (Stripe allows 50, five are ours); key up to 40 characters without brackets, value up to 500. */
  metadata?: Record<string, string>;
  /** Stripe's payment method (`pm_…`), where one is known already. */
  payment_method_id?: string | null;
  /** A Stripe price on the allow-list. */
  price_id: string;
  /** Who asks. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionCreateV1Reply =
  | {
    ok: SubscriptionView;
  }
  | {
    refused: CreateRefusal;
  }
  | {
    failed: Failure;
  };

/** A subscription was created at Stripe. */
export interface SubscriptionCreatedV1 {
  /** The plan's name in the catalogue. */
  plan: string;
  /** Its first status. */
  status: Status;
  /** Which subscription. */
  subscription_id: string;
  /** Who asked for it. */
  user_id: string;
}

/** Tell a subscription. */
export interface SubscriptionGetV1 {
  /** Which one. */
  subscription_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionGetV1Reply =
  | {
    ok: SubscriptionView;
  }
  | {
    refused: GetRefusal;
  }
  | {
    failed: Failure;
  };

/** Tell what a tenant's users may buy. */
export type SubscriptionListPlansV1 = Record<string, never>;

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionListPlansV1Reply =
  | {
    ok: Plans;
  }
  | {
    refused: NeverRefused;
  }
  | {
    failed: Failure;
  };

/** Tell every key that proofs may be signed with now: what a verifier that starts late needs. */
export type SubscriptionListProofKeysV1 = Record<string, never>;

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionListProofKeysV1Reply =
  | {
    ok: ProofKeys;
  }
  | {
    refused: NeverRefused;
  }
  | {
    failed: Failure;
  };

/** Why nothing was listed. */
export type SubscriptionListRefusal =
  | {
    code: "invalid_page";
    /** Which field and rule. */
    message: string;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** Tell a user's subscriptions, or a whole tenant's; oldest first. */
export interface SubscriptionListV1 {
  /** Where the last page ended. */
  after?: string | null;
  /** Subscriptions a page, 1 to 100. */
  limit: number;
  /** Only those in this status. */
  status?: Status | null;
  /** Whose; absent for the whole tenant's, which is for administrators. */
  user_id?: string | null;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionListV1Reply =
  | {
    ok: SubscriptionPage;
  }
  | {
    refused: SubscriptionListRefusal;
  }
  | {
    failed: Failure;
  };

/** A page of subscriptions. */
export interface SubscriptionPage {
  /** Set while more may follow. */
  next?: string | null;
  /** As we last saw them at Stripe. A page may be short of the limit, or empty, and not be the last. */
  subscriptions: SubscriptionView[];
}

/** A public key for proofs, told before anything is signed with it. */
export interface SubscriptionProofKeyPublishedV1 {
  /** The key. */
  key: ProofKey;
}

/** A key that proofs are signed with is not to be trusted any more, whatever its `not_after_ms` said. */
export interface SubscriptionProofKeyWithdrawnV1 {
  /** The key's name. */
  kid: string;
  /** Why, for people. */
  reason: string;
  /** When its last proof would have ended, Unix milliseconds; the name may be forgotten then. */
  until_ms: number;
}

/** Proofs of a subscription below a version are void from now on. */
export interface SubscriptionProofRevokedV1 {
  /** Proofs whose `ver` is smaller are refused. */
  min_ver: number;
  /** Why, for people: `canceled`, `unpaid`, … */
  reason: string;
  /** Which subscription (`sid` in the proof). */
  subscription_id: string;
  /** When the last of them has expired anyway, Unix milliseconds; the record may be dropped then. */
  until_ms: number;
}

/** Tell what a verifier of proofs must know: the keys, and a page of the revocations in force. Ask for the first page before listening to no events, and go on until there is no `next`. */
export interface SubscriptionProofSnapshotV1 {
  /** `next` of the page before; absent for the first. */
  after?: string | null;
  /** Revocations a page, 1 to 1,000. */
  limit: number;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionProofSnapshotV1Reply =
  | {
    ok: ProofSnapshot;
  }
  | {
    refused: NeverRefused;
  }
  | {
    failed: Failure;
  };

/** A subscription used up what its plan allows in a window. Told once per limit and window. */
export interface SubscriptionQuotaExceededV1 {
  /** What the plan allows in the window. */
  allowed: number;
  /** The limit's name in the plan: meter and window, `relay_bytes_month`. */
  limit: string;
  /** When the next window begins, Unix milliseconds: refuse until then. */
  resets_at_ms: number;
  /** Which subscription. */
  subscription_id: string;
  /** What was used when it was noticed. */
  used: number;
  /** Begin of the window, Unix milliseconds (UTC minutes, days and months). */
  window_from_ms: number;
}

/** A subscription may use again what it had used up. */
export interface SubscriptionQuotaRestoredV1 {
  /** The limit's name in the plan. */
  limit: string;
  /** Why. */
  reason: RestoredBecause;
  /** Which subscription. */
  subscription_id: string;
}

/** Our subscriptions were compared with Stripe's. */
export interface SubscriptionReconciledV1 {
  /** Subscriptions looked at. */
  checked: number;
  /** On one side only, or twice, and for people to decide. */
  extra: number;
  /** Repairs that came to nothing; the next run tries again. */
  failed: number;
  /** When it ended, Unix milliseconds. */
  finished_at_ms: number;
  /** At Stripe, and not known here. */
  missing: number;
  /** What was compared. */
  mode: ReconcileMode;
  /** How many of these were repaired. */
  repaired: number;
  /** Which run. */
  run_id: string;
  /** Known here with other content. */
  stale: number;
  /** When it began, Unix milliseconds. */
  started_at_ms: number;
}

/** Take back a cancellation that has not happened yet, or wake up a paused subscription. Resuming what runs changes nothing. */
export interface SubscriptionResumeV1 {
  /** Whether they may change those of others in their tenant. */
  is_admin?: boolean;
  /** Which subscription. */
  subscription_id: string;
  /** Who asks. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionResumeV1Reply =
  | {
    ok: SubscriptionView;
  }
  | {
    refused: ResumeRefusal;
  }
  | {
    failed: Failure;
  };

/** A subscription's status changed. Superseded by v2, which says what it was before and whether it entitles. */
export interface SubscriptionStatusChangedV1 {
  /** The new status. */
  status: Status;
  /** Which subscription. */
  subscription_id: string;
}

/** A subscription's status changed. */
export interface SubscriptionStatusChangedV2 {
  /** What it is. */
  current: Status;
  /** End of the paid period, Unix milliseconds. */
  current_period_end_ms?: number | null;
  /** Whether proofs may be issued in this status (grace periods aside). */
  entitled: boolean;
  /** What it was; absent when the fact was first told in v1. */
  previous?: Status | null;
  /** Which subscription. */
  subscription_id: string;
}

/** Somebody asked for a status change that the machine does not allow. */
export interface SubscriptionTransitionRejectedV1 {
  /** What was asked: `change_plan`, `cancel`, `resume`; absent for a webhook. */
  asked?: string | null;
  /** Where it stands. */
  from: Status;
  /** Who asked: `api` or `webhook`. */
  source: string;
  /** Which subscription. */
  subscription_id: string;
  /** Where it should have gone. */
  to: Status;
  /** Which user asked; absent for a webhook. */
  user_id?: string | null;
}

/** Tell what a subscription used and may use. */
export interface SubscriptionUsageV1 {
  /** Which one. */
  subscription_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionUsageV1Reply =
  | {
    ok: UsageView;
  }
  | {
    refused: GetRefusal;
  }
  | {
    failed: Failure;
  };

/** Prove to others that a peer may connect under this subscription. */
export interface SubscriptionVerifyV1 {
  /** For which peer. */
  peer_id: string;
  /** Thumbprint of the peer's key (RFC 7638, base64url) to bind the proof to (`cnf.jkt`). */
  peer_key?: string | null;
  /** Which subscription. */
  subscription_id: string;
  /** Who asks. */
  user_id: string;
}

/** What comes back for a request: the reply, the owner's refusal, or a failure that says whether to try again. */
export type SubscriptionVerifyV1Reply =
  | {
    ok: ProofIssued;
  }
  | {
    refused: VerifyRefusal;
  }
  | {
    failed: Failure;
  };

/** A subscription as its owner tells it. */
export interface SubscriptionView {
  /** Whether it ends with its paid period; absent from services older than this field. */
  cancel_at_period_end?: boolean | null;
  /** End of the paid period, Unix milliseconds. */
  current_period_end_ms?: number | null;
  /** Caller's metadata. */
  metadata?: Record<string, string>;
  /** What is to be done so that its first payment goes through; only in the answer to its creation. */
  payment?: PaymentStep | null;
  /** The plan's name. */
  plan: string;
  /** The Stripe price it is billed by. */
  price_id: string;
  /** Its status. */
  status: Status;
  /** Stripe's own id (`sub_…`). */
  stripe_subscription_id: string;
  /** Its id. */
  subscription_id: string;
  /** Who it belongs to. */
  user_id: string;
}

/** The answer of `POST /v1/tickets`. */
export interface TicketIssued {
  /** Until when, Unix milliseconds. */
  expires_at_ms: number;
  /** Stands for the caller's access token, once. */
  ticket: string;
}

/** A way to a peer. */
export interface Transport {
  /** Where, in the kind's own words; nothing for what signaling settles. 1 to 200 printable ASCII characters. */
  address?: string | null;
  /** Which kind. */
  kind: TransportKind;
}

/** Kinds of ways to a peer. */
export type TransportKind = "webrtc" | "local_network" | "bluetooth" | "relay" | "unknown" | (string & {});

/** Tunnels of a subscription carried requests. */
export interface TunnelUsageRecordedV1 {
  /** How much, of whom, when. */
  usage: Usage;
}

/** What one process measured for one subscription in a span of time. Each use stands in exactly one such fact; the event's id keeps a fact that comes twice from counting twice. */
export interface Usage {
  /** How much, by meter: `relay_bytes`, `tunnel_requests`, `tunnel_bytes`. 1 to 16 meters of `[a-z0-9_]`, up to 50 characters each; one that no plan limits is counted all the same. */
  amounts: Record<string, number>;
  /** Begin of the span, Unix milliseconds. */
  from_ms: number;
  /** The process that measured; each counts its own facts of a subscription. */
  node_id: string;
  /** Whose use it was. */
  subscription_id: string;
  /** Its end, Unix milliseconds; the whole use belongs to the windows that hold it. Report at least once a minute. */
  to_ms: number;
}

/** What a subscription used in the windows of now. */
export interface UsageView {
  /** What it includes: Stripe's entitlements of the customer where there are any, else the plan's. */
  features: string[];
  /** The plan's name. */
  plan: string;
  /** Which one. */
  subscription_id: string;
  /** Who it belongs to. */
  user_id: string;
  /** Every meter in each of its windows, used or limited. */
  windows: UsageWindow[];
}

/** One meter in one window. */
export interface UsageWindow {
  /** What the plan allows; absent where it sets no limit. */
  allowed?: number | null;
  /** Begin of the window, Unix milliseconds. */
  from_ms: number;
  /** The meter: `relay_bytes`. */
  meter: string;
  /** When the next begins, Unix milliseconds. */
  resets_at_ms: number;
  /** What was used. */
  used: number;
  /** `minute`, `day` or `month`, UTC. */
  window: string;
}

/** Why no proof was issued. */
export type VerifyRefusal =
  | {
    code: "not_found";
  }
  | {
    code: "not_owner";
  }
  | {
    code: "not_entitled";
    /** The status it is in. */
    status: Status;
  }
  | {
    code: "unknown";
  }
  | (string & {});

/** `POST /v1/subscriptions/{id}/verify`. */
export interface VerifySubscription {
  /** The peer that will show the proof. */
  peer_id: string;
  /** Thumbprint of the peer's public key (RFC 7638: SHA-256 in base64url, 43 characters): the proof is then good only together with that key. */
  peer_key?: string | null;
}

/** One broken rule. */
export interface Violation {
  /** Which field, as a path (`metadata.team`). */
  field: string;
  /** Which rule, and what to do. */
  message: string;
}

/** Stripe announced that a price or a product was made, changed or deleted (`price.*`, `product.*`). It belongs to no customer of ours: the envelope's tenant is `platform`. A hint: fetch the object. */
export interface WebhookStripeCatalogueChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** Whether it is gone. */
  deleted: boolean;
  /** Whether it is real money. A reader whose key is of the other mode ignores the fact. */
  livemode: boolean;
  /** A price or a product. */
  object: CatalogueObject;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `invoice.payment_failed`. */
  stripe_event_type: string;
  /** Its id (`price_…`, `prod_…`). */
  stripe_object_id: string;
  /** The product of a price. */
  stripe_product_id?: string | null;
}

/** Stripe announced what became of a checkout session that we opened: `checkout.session.completed`, `.async_payment_succeeded`, `.async_payment_failed`, `.expired`. A hint: fetch the session or the subscription. */
export interface WebhookStripeCheckoutChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** Its payment status as the payload carried it (`paid`, `unpaid`, `no_payment_required`). */
  hinted_payment_status?: string | null;
  /** The session's status as the payload carried it (`open`, `complete`, `expired`). */
  hinted_status?: string | null;
  /** Whether it is real money. A reader whose key is of the other mode ignores the fact. */
  livemode: boolean;
  /** The session's metadata. */
  metadata?: Record<string, string>;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's session id (`cs_…`). */
  stripe_checkout_session_id: string;
  /** Stripe's customer id (`cus_…`), once there is one. */
  stripe_customer_id?: string | null;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `invoice.payment_failed`. */
  stripe_event_type: string;
  /** The subscription it made (`sub_…`), once there is one. */
  stripe_subscription_id?: string | null;
  /** Our id of the subscription it was opened for, from the session's metadata (`synapse_subscription`). */
  subscription_id: string;
}

/** Stripe announced that a customer was made, changed or deleted (`customer.created`, `.updated`, `.deleted`). The tenant is the one that the customer's metadata (`synapse_tenant`) or an earlier subscription of it names; a customer that is nobody's is not announced. A hint: look the customer up by its id before acting for the tenant. */
export interface WebhookStripeCustomerChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** Whether it is gone; Stripe cancels its subscriptions then. */
  deleted: boolean;
  /** Whether it is real money. A reader whose key is of the other mode ignores the fact. */
  livemode: boolean;
  /** The customer's metadata. */
  metadata?: Record<string, string>;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's customer id (`cus_…`). */
  stripe_customer_id: string;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `invoice.payment_failed`. */
  stripe_event_type: string;
}

/** Stripe announced what a customer is entitled to (`entitlements.active_entitlement_summary.updated`). The tenant is the one that an earlier subscription of the customer names. A hint: fetch the customer's active entitlements. */
export interface WebhookStripeEntitlementsChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** Lookup keys of the features in the payload, at most 100; Stripe cuts long lists short. */
  hinted_features: string[];
  /** Whether it is real money. A reader whose key is of the other mode ignores the fact. */
  livemode: boolean;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's customer id (`cus_…`). */
  stripe_customer_id: string;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `invoice.payment_failed`. */
  stripe_event_type: string;
}

/** Stripe announced what became of an invoice of a subscription that we created: `invoice.paid`, `.payment_failed`, `.payment_action_required` and the other `invoice.*` types. The same event also gives a `webhook.stripe_subscription_changed.v1`. A hint: fetch the subscription or the invoice before deciding. */
export interface WebhookStripeInvoiceChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** How often Stripe has tried to collect it. */
  attempt_count?: number | null;
  /** Why Stripe made the invoice, e.g. `subscription_create`, `subscription_cycle`. */
  billing_reason?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** The invoice's status as the payload carried it (`draft`, `open`, `paid`, `uncollectible`, `void`). */
  hinted_status?: string | null;
  /** Whether it is real money. A reader whose key is of the other mode ignores the fact. */
  livemode: boolean;
  /** When Stripe tries next, Unix seconds; absent when it won't. */
  next_payment_attempt_s?: number | null;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's customer id (`cus_…`). */
  stripe_customer_id?: string | null;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `invoice.payment_failed`. */
  stripe_event_type: string;
  /** Stripe's invoice id (`in_…`); absent for previews, which have none. */
  stripe_invoice_id?: string | null;
  /** Stripe's subscription id (`sub_…`). */
  stripe_subscription_id: string;
  /** Our id of the subscription it bills. */
  subscription_id: string;
}

/** Stripe announced a change of a subscription that we created. A hint: fetch the object before deciding. */
export interface WebhookStripeSubscriptionChangedV1 {
  /** The API version the event was rendered with; absent where Stripe left it out. */
  api_version?: string | null;
  /** When Stripe created the event, Unix seconds. One-second resolution: it orders nothing. */
  created_s: number;
  /** The status the payload carried, as Stripe wrote it. */
  hinted_status?: string | null;
  /** Whether it is real money. */
  livemode: boolean;
  /** The subscription's metadata; empty where the event carries no object, as thin ones. */
  metadata?: Record<string, string>;
  /** The connected account it happened in (`acct_…`); absent for the platform's own. */
  stripe_account?: string | null;
  /** Stripe's event id (`evt_…`). */
  stripe_event_id: string;
  /** Stripe's event type, e.g. `customer.subscription.trial_will_end`. An invoice's where that made us look. */
  stripe_event_type: string;
  /** Stripe's subscription id (`sub_…`). */
  stripe_subscription_id: string;
  /** Our id, from the object's metadata (`synapse_subscription`). */
  subscription_id: string;
}

/** Where a signal is now. */
export type Whereabouts = "delivered" | "queued" | "expired" | "unknown" | (string & {});

/** Events by kind. */
export interface Events {
  "gateway.usage_recorded.v1": GatewayUsageRecordedV1;
  "presence.peer_described.v1": PresencePeerDescribedV1;
  "presence.peer_status_changed.v1": PresencePeerStatusChangedV1;
  "presence.peer_went_offline.v1": PresencePeerWentOfflineV1;
  "presence.peer_went_online.v1": PresencePeerWentOnlineV1;
  "signaling.session_ended.v1": SignalingSessionEndedV1;
  "signaling.session_opened.v1": SignalingSessionOpenedV1;
  "subscription.created.v1": SubscriptionCreatedV1;
  "subscription.proof_key_published.v1": SubscriptionProofKeyPublishedV1;
  "subscription.proof_key_withdrawn.v1": SubscriptionProofKeyWithdrawnV1;
  "subscription.proof_revoked.v1": SubscriptionProofRevokedV1;
  "subscription.quota_exceeded.v1": SubscriptionQuotaExceededV1;
  "subscription.quota_restored.v1": SubscriptionQuotaRestoredV1;
  "subscription.reconciled.v1": SubscriptionReconciledV1;
  "subscription.status_changed.v1": SubscriptionStatusChangedV1;
  "subscription.status_changed.v2": SubscriptionStatusChangedV2;
  "subscription.transition_rejected.v1": SubscriptionTransitionRejectedV1;
  "tunnel.usage_recorded.v1": TunnelUsageRecordedV1;
  "webhook.stripe_catalogue_changed.v1": WebhookStripeCatalogueChangedV1;
  "webhook.stripe_checkout_changed.v1": WebhookStripeCheckoutChangedV1;
  "webhook.stripe_customer_changed.v1": WebhookStripeCustomerChangedV1;
  "webhook.stripe_entitlements_changed.v1": WebhookStripeEntitlementsChangedV1;
  "webhook.stripe_invoice_changed.v1": WebhookStripeInvoiceChangedV1;
  "webhook.stripe_subscription_changed.v1": WebhookStripeSubscriptionChangedV1;
}

/** Replies by kind. */
export interface Replies {
  "presence.connect.v1": PresenceConnectV1Reply;
  "presence.count.v1": PresenceCountV1Reply;
  "presence.describe.v1": PresenceDescribeV1Reply;
  "presence.disconnect.v1": PresenceDisconnectV1Reply;
  "presence.list.v1": PresenceListV1Reply;
  "presence.lookup.v1": PresenceLookupV1Reply;
  "presence.set_status.v1": PresenceSetStatusV1Reply;
  "signaling.ice_servers.v1": SignalingIceServersV1Reply;
  "signaling.open_session.v1": SignalingOpenSessionV1Reply;
  "signaling.send.v1": SignalingSendV1Reply;
  "subscription.cancel.v1": SubscriptionCancelV1Reply;
  "subscription.change_plan.v1": SubscriptionChangePlanV1Reply;
  "subscription.check_plans.v1": SubscriptionCheckPlansV1Reply;
  "subscription.create.v1": SubscriptionCreateV1Reply;
  "subscription.create_checkout.v1": SubscriptionCreateCheckoutV1Reply;
  "subscription.create_portal.v1": SubscriptionCreatePortalV1Reply;
  "subscription.get.v1": SubscriptionGetV1Reply;
  "subscription.list.v1": SubscriptionListV1Reply;
  "subscription.list_plans.v1": SubscriptionListPlansV1Reply;
  "subscription.list_proof_keys.v1": SubscriptionListProofKeysV1Reply;
  "subscription.proof_snapshot.v1": SubscriptionProofSnapshotV1Reply;
  "subscription.resume.v1": SubscriptionResumeV1Reply;
  "subscription.usage.v1": SubscriptionUsageV1Reply;
  "subscription.verify.v1": SubscriptionVerifyV1Reply;
}

/** Requests by kind. */
export interface Requests {
  "presence.connect.v1": PresenceConnectV1;
  "presence.count.v1": PresenceCountV1;
  "presence.describe.v1": PresenceDescribeV1;
  "presence.disconnect.v1": PresenceDisconnectV1;
  "presence.list.v1": PresenceListV1;
  "presence.lookup.v1": PresenceLookupV1;
  "presence.set_status.v1": PresenceSetStatusV1;
  "signaling.ice_servers.v1": SignalingIceServersV1;
  "signaling.open_session.v1": SignalingOpenSessionV1;
  "signaling.send.v1": SignalingSendV1;
  "subscription.cancel.v1": SubscriptionCancelV1;
  "subscription.change_plan.v1": SubscriptionChangePlanV1;
  "subscription.check_plans.v1": SubscriptionCheckPlansV1;
  "subscription.create.v1": SubscriptionCreateV1;
  "subscription.create_checkout.v1": SubscriptionCreateCheckoutV1;
  "subscription.create_portal.v1": SubscriptionCreatePortalV1;
  "subscription.get.v1": SubscriptionGetV1;
  "subscription.list.v1": SubscriptionListV1;
  "subscription.list_plans.v1": SubscriptionListPlansV1;
  "subscription.list_proof_keys.v1": SubscriptionListProofKeysV1;
  "subscription.proof_snapshot.v1": SubscriptionProofSnapshotV1;
  "subscription.resume.v1": SubscriptionResumeV1;
  "subscription.usage.v1": SubscriptionUsageV1;
  "subscription.verify.v1": SubscriptionVerifyV1;
}

/** Signals by kind. */
export interface Signals {
  "gateway.broadcast.v1": GatewayBroadcastV1;
  "gateway.call.v1": GatewayCallV1;
  "gateway.entitlement_lost.v1": GatewayEntitlementLostV1;
  "gateway.reply.v1": GatewayReplyV1;
  "presence.changed.v1": PresenceChangedV1;
  "presence.heartbeat.v1": PresenceHeartbeatV1;
  "signaling.deliver.v1": SignalingDeliverV1;
  "signaling.receipt.v1": SignalingReceiptV1;
  "signaling.taken.v1": SignalingTakenV1;
}
