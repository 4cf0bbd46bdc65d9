//! Fields come, go and change between required and optional.

changes! {
    optional_field_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: String, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<String> } };
    two_optional_fields_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M {
            a: String,
            #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<u64>,
            #[serde(default, skip_serializing_if = "Option::is_none")] c: Option<bool>,
        } };
    optional_list_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: String, #[serde(default, skip_serializing_if = "Vec::is_empty")] b: Vec<u32> } };
    optional_map_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M {
            a: String,
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")] b: BTreeMap<String, String>,
        } };
    field_with_a_default_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: String, #[serde(default)] b: u32 } };
    optional_object_added: Allowed,
        { pub struct M { a: String } }
        => {
            pub struct M { a: String, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<B> }
            pub struct B { c: u64 }
        };
    optional_anything_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: String, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<Value> } };
    optional_field_added_inside: Allowed,
        { pub struct M { a: A } pub struct A { b: u64 } }
        => {
            pub struct M { a: A }
            pub struct A { b: u64, #[serde(default, skip_serializing_if = "Option::is_none")] c: Option<String> }
        };
    optional_field_added_in_list_items: Allowed,
        { pub struct M { list: Vec<A> } pub struct A { b: u64 } }
        => {
            pub struct M { list: Vec<A> }
            pub struct A { b: u64, #[serde(default, skip_serializing_if = "Option::is_none")] c: Option<String> }
        };
    optional_field_added_in_map_values: Allowed,
        { pub struct M { map: BTreeMap<String, A> } pub struct A { b: u64 } }
        => {
            pub struct M { map: BTreeMap<String, A> }
            pub struct A { b: u64, #[serde(default, skip_serializing_if = "Option::is_none")] c: Option<String> }
        };
    optional_field_added_to_an_empty_message: Allowed,
        { pub struct M {} }
        => { pub struct M { #[serde(default, skip_serializing_if = "Option::is_none")] a: Option<u64> } };
    fields_reordered: Allowed,
        { pub struct M { a: String, b: u64 } }
        => { pub struct M { b: u64, a: String } };
    rust_name_changed_wire_name_kept: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { #[serde(rename = "a")] better_name: String } };
    second_spelling_accepted: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { #[serde(alias = "A")] a: String } };
    comment_changed: Allowed,
        { pub struct M { /** One thing. */ a: String } }
        => { /** Told better. */ pub struct M { /** The same thing in other words. */ a: String } };
    fields_flattened_out_of_a_part: Allowed,
        { pub struct M { a: String, b: u64 } }
        => { pub struct M { a: String, #[serde(flatten)] rest: Rest } pub struct Rest { b: u64 } };

    required_field_added: Fails(RequiredAdded),
        { pub struct M { a: String } }
        => { pub struct M { a: String, b: String } };
    required_field_added_inside: Fails(RequiredAdded),
        { pub struct M { a: A } pub struct A { b: u64 } }
        => { pub struct M { a: A } pub struct A { b: u64, c: u64 } };
    required_field_removed: Fails(RequiredRemoved),
        { pub struct M { a: String, b: String } }
        => { pub struct M { a: String } };
    required_field_removed_in_list_items: Fails(RequiredRemoved),
        { pub struct M { #[serde(default)] list: Vec<A> } pub struct A { b: u64, c: u64 } }
        => { pub struct M { #[serde(default)] list: Vec<A> } pub struct A { b: u64 } };
    optional_field_removed: Silent(FieldRemoved),
        { pub struct M { a: String, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<String> } }
        => { pub struct M { a: String } };
    optional_list_removed: Silent(FieldRemoved),
        { pub struct M { a: String, #[serde(default, skip_serializing_if = "Vec::is_empty")] b: Vec<String> } }
        => { pub struct M { a: String } };
    optional_field_renamed: Silent(FieldRemoved),
        { pub struct M { #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<String> } }
        => { pub struct M { #[serde(default, skip_serializing_if = "Option::is_none")] c: Option<String> } };
    required_field_renamed: Fails(RequiredAdded),
        { pub struct M { a: String } }
        => { pub struct M { name: String } };
    spelling_changed: Fails(RequiredAdded),
        { pub struct M { peer_id: String } }
        => { #[serde(rename_all = "camelCase")] pub struct M { peer_id: String } };
    required_made_optional: Fails(MadeOptional),
        { pub struct M { a: String } }
        => { pub struct M { #[serde(default, skip_serializing_if = "String::is_empty")] a: String } };
    optional_made_required: Fails(MadeRequired),
        { pub struct M { #[serde(default, skip_serializing_if = "String::is_empty")] a: String } }
        => { pub struct M { a: String } };
    field_wrapped_in_an_object: Fails(Retyped),
        { pub struct M { a: String } }
        => { pub struct M { a: A } pub struct A { value: String } };
    field_moved_into_a_part: Fails(RequiredAdded),
        { pub struct M { a: String, b: u64 } }
        => { pub struct M { a: String, part: Part } pub struct Part { b: u64 } };
    default_changed: Silent(DefaultChanged),
        { pub struct M { #[serde(default = "fifty")] a: u32 } }
        => { pub struct M { #[serde(default = "hundred")] a: u32 } };
    optional_field_added_where_readers_deny_unknown_ones: Fails(AddedToClosed),
        { #[serde(deny_unknown_fields)] pub struct M { a: String, z: u64 } }
        => {
            #[serde(deny_unknown_fields)] pub struct M {
                a: String,
                z: u64,
                #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<String>,
            }
        };
    unknown_fields_denied: Fails(ObjectClosed),
        { pub struct M { a: String } }
        => { #[serde(deny_unknown_fields)] pub struct M { a: String } };
    unknown_fields_no_longer_denied: Allowed,
        { #[serde(deny_unknown_fields)] pub struct M { a: String } }
        => { pub struct M { a: String } };
}
