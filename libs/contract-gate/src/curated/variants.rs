//! Enums whose variants carry data, by every way serde tags them.

changes! {
    optional_field_added_to_a_variant: Allowed,
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M {
            A { x: u64, #[serde(default, skip_serializing_if = "Option::is_none")] y: Option<String> },
            B,
        } };
    plain_variant_gains_an_optional_field: Allowed,
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M {
            A { x: u64 },
            B { #[serde(default, skip_serializing_if = "Option::is_none")] y: Option<String> },
        } };
    optional_field_added_to_a_variants_payload: Allowed,
        { #[serde(tag = "type")] pub enum M { A(A), B } pub struct A { x: u64 } }
        => {
            #[serde(tag = "type")] pub enum M { A(A), B }
            pub struct A { x: u64, #[serde(default, skip_serializing_if = "Option::is_none")] y: Option<String> }
        };
    variants_reordered: Allowed,
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { B, A { x: u64 } } };
    open_variants_grow: Allowed,
        {
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum M { A { x: u64 }, #[serde(other)] Unknown }
        } => {
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum M { A { x: u64 }, B { y: String }, #[serde(other)] Unknown }
        };
    open_variants_grow_inside: Allowed,
        {
            pub struct M { part: Option<P> }
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum P { A { x: u64 }, #[serde(other)] Unknown }
        } => {
            pub struct M { part: Option<P> }
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum P { A { x: u64 }, B, #[serde(other)] Unknown }
        };
    wrapped_variants_payload_gains_an_optional_field: Allowed,
        { pub enum M { A(A), B(u64) } pub struct A { x: u64 } }
        => {
            pub enum M { A(A), B(u64) }
            pub struct A { x: u64, #[serde(default, skip_serializing_if = "Option::is_none")] y: Option<String> }
        };
    adjacent_variants_payload_gains_an_optional_field: Allowed,
        { #[serde(tag = "t", content = "c")] pub enum M { A(A), B } pub struct A { x: u64 } }
        => {
            #[serde(tag = "t", content = "c")] pub enum M { A(A), B }
            pub struct A { x: u64, #[serde(default, skip_serializing_if = "Option::is_none")] y: Option<String> }
        };
    flattened_variants_gain_an_optional_field: Allowed,
        {
            pub struct M { id: String, #[serde(flatten)] action: Action }
            #[serde(tag = "action")] pub enum Action { List, Set { x: u64 } }
        } => {
            pub struct M { id: String, #[serde(flatten)] action: Action }
            #[serde(tag = "action")] pub enum Action {
                List { #[serde(default, skip_serializing_if = "Option::is_none")] after: Option<String> },
                Set { x: u64 },
            }
        };

    closed_variant_added: Fails(VariantAdded),
        { #[serde(tag = "type")] pub enum M { A { x: u64 } } }
        => { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } };
    closed_variant_removed: Fails(VariantRemoved),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { A { x: u64 } } };
    open_variant_removed: Silent(VariantRemoved),
        {
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum M { A { x: u64 }, B, #[serde(other)] Unknown }
        } => {
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum M { B, #[serde(other)] Unknown }
        };
    open_variants_closed: Fails(EnumClosed),
        {
            #[serde(tag = "type")] #[schemars(extend("x-unknown" = "Unknown"))]
            pub enum M { A { x: u64 }, #[serde(other)] Unknown }
        }
        => { #[serde(tag = "type")] pub enum M { A { x: u64 }, Unknown } };
    variant_renamed: Fails(VariantRemoved),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { A { x: u64 }, Bee } };
    required_field_added_to_a_variant: Fails(RequiredAdded),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { A { x: u64, y: u64 }, B } };
    required_field_removed_from_a_variant: Fails(RequiredRemoved),
        { #[serde(tag = "type")] pub enum M { A { x: u64, y: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } };
    field_of_a_variant_retyped: Fails(Retyped),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "type")] pub enum M { A { x: String }, B } };
    tag_renamed: Fails(VariantRemoved),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B } }
        => { #[serde(tag = "kind")] pub enum M { A { x: u64 }, B } };
    tagging_changed: Fails(VariantRemoved),
        { #[serde(tag = "type")] pub enum M { A { x: u64 }, B { y: u64 } } }
        => { pub enum M { A { x: u64 }, B { y: u64 } } };
    content_renamed: Fails(RequiredAdded),
        { #[serde(tag = "t", content = "c")] pub enum M { A(u64), B(u64) } }
        => { #[serde(tag = "t", content = "data")] pub enum M { A(u64), B(u64) } };
    wrapped_variant_added: Fails(VariantAdded),
        { pub enum M { A(u64) } }
        => { pub enum M { A(u64), B(String) } };
    wrapped_variant_removed: Fails(VariantRemoved),
        { pub enum M { A(u64), B(String) } }
        => { pub enum M { A(u64) } };
    plain_value_became_a_wrapped_variant: Fails(ValueRemoved),
        { pub enum M { A, B } }
        => { pub enum M { A(u64), B } };
    first_variant_of_an_empty_enum: Fails(VariantAdded),
        { pub enum M { Ok(u64), No(Never) } pub enum Never {} }
        => { pub enum M { Ok(u64), No(Never) } #[serde(tag = "code")] pub enum Never { Late } };
    untagged_alternative_added: Fails(Retyped),
        { pub struct M { v: V } #[serde(untagged)] pub enum V { Text(String) } }
        => { pub struct M { v: V } #[serde(untagged)] pub enum V { Text(String), Number(u64) } };
}
