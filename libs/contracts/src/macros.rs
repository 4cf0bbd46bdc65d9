/// Declares an owner's events: one enum whose variants are payload types, with their kinds, keys and decoding.
macro_rules! events {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident($payload:ty),)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($payload),)+
        }

        impl $crate::Fact for $name {
            fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$payload as $crate::Contract>::KIND,)+
                }
            }

            fn aggregate(&self) -> String {
                match self {
                    $(Self::$variant(payload) => $crate::Event::aggregate(payload),)+
                }
            }

            fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
                match self {
                    $(Self::$variant(payload) => serde_json::to_vec(payload),)+
                }
            }
        }

        impl $name {
            /// Reads a payload of `kind`; `None` when the kind is not one of this owner's (then nothing was parsed).
            pub fn decode(kind: &str, data: &[u8]) -> Option<Result<Self, serde_json::Error>> {
                match kind {
                    $(<$payload as $crate::Contract>::KIND =>
                        Some(serde_json::from_slice::<$payload>(data).map(Self::$variant)),)+
                    _ => None,
                }
            }

            pub(crate) fn entries() -> Vec<$crate::Entry> {
                vec![$($crate::Entry::event::<$payload>(),)+]
            }
        }

        $(impl From<$payload> for $name {
            fn from(payload: $payload) -> Self {
                Self::$variant(payload)
            }
        })+
    };
}
