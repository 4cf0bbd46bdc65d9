//! Enums of plain values: closed ones are fixed, open ones (`x-unknown`) may grow.

changes! {
    open_enum_grows: Allowed,
        {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        } => {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, C, #[serde(other)] Unknown }
        };
    open_enum_grows_in_a_list: Allowed,
        {
            pub struct M { list: Vec<E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        } => {
            pub struct M { list: Vec<E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, C, #[serde(other)] Unknown }
        };
    open_enum_grows_in_a_map: Allowed,
        {
            pub struct M { map: BTreeMap<String, E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        } => {
            pub struct M { map: BTreeMap<String, E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        };
    optional_open_enum_grows: Allowed,
        {
            pub struct M { #[serde(default, skip_serializing_if = "Option::is_none")] e: Option<E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        } => {
            pub struct M { #[serde(default, skip_serializing_if = "Option::is_none")] e: Option<E> }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        };
    optional_closed_enum_added: Allowed,
        { pub struct M { a: u64 } }
        => {
            pub struct M { a: u64, #[serde(default, skip_serializing_if = "Option::is_none")] e: Option<E> }
            pub enum E { A, B }
        };
    values_reordered: Allowed,
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { B, A } };
    values_documented: Allowed,
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { /** The first. */ A, /** The other. */ B } };
    rust_value_renamed_wire_value_kept: Allowed,
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { #[serde(rename = "A")] First, B } };
    enum_type_renamed: Allowed,
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: Better } pub enum Better { A, B } };
    open_enum_became_text: Allowed,
        {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        }
        => { pub struct M { e: Text } #[serde(transparent)] pub struct Text(String); };

    closed_enum_grows: Fails(ValueAdded),
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { A, B, C } };
    closed_enum_grows_in_a_list: Fails(ValueAdded),
        { pub struct M { list: Vec<E> } pub enum E { A } }
        => { pub struct M { list: Vec<E> } pub enum E { A, B } };
    closed_enum_shrinks: Fails(ValueRemoved),
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { A } };
    closed_enum_value_renamed: Fails(ValueRemoved),
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } pub enum E { A, Bee } };
    closed_enum_spelling_changed: Fails(ValueAdded),
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: E } #[serde(rename_all = "lowercase")] pub enum E { A, B } };
    open_enum_shrinks: Silent(ValueRemoved),
        {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        } => {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        };
    open_enum_value_renamed: Silent(ValueRemoved),
        {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        } => {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, Bee, #[serde(other)] Unknown }
        };
    open_enum_closed: Fails(EnumClosed),
        {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        }
        => { pub struct M { e: E } pub enum E { A, Unknown } };
    closed_enum_opened: Fails(ValueAdded),
        { pub struct M { e: E } pub enum E { A, B } }
        => {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, B, #[serde(other)] Unknown }
        };
    text_became_a_closed_enum: Fails(Retyped),
        { pub struct M { e: String } }
        => { pub struct M { e: E } pub enum E { A, B } };
    text_became_an_open_enum: Silent(Retyped),
        { pub struct M { e: String } }
        => {
            pub struct M { e: E }
            #[schemars(extend("x-unknown" = "Unknown"))] pub enum E { A, #[serde(other)] Unknown }
        };
    closed_enum_became_text: Fails(Retyped),
        { pub struct M { e: E } pub enum E { A, B } }
        => { pub struct M { e: String } };
    enum_became_a_switch: Fails(Retyped),
        { pub struct M { e: E } pub enum E { On, Off } }
        => { pub struct M { e: bool } };
}
