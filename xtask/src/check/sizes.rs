//! Files of at most 600 lines, functions of at most 70.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Block, Ident, ImplItemFn, ItemFn, TraitItemFn};

use super::Finding;
use super::sources::Source;

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// The file's own size.
pub(super) fn file(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    (lines > FILE_LINES).then(|| {
        source.finding(
            FILE_LINES + 1,
            format!("the file has {lines} lines, {FILE_LINES} is the limit"),
            "Split it by noun or use case (aim for 200 lines); a generated file says `@generated` in its first lines.",
        )
    })
}

/// Every function's body, tests included. What a macro definition holds is not a function.
pub(super) fn functions(source: &Source, file: &syn::File) -> Vec<Finding> {
    let mut visitor = Functions { source, findings: Vec::new() };
    visitor.visit_file(file);
    visitor.findings
}

struct Functions<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &Ident, body: &Block) {
        let (open, close): (Span, Span) = (body.brace_token.span.open(), body.brace_token.span.close());
        let lines = (close.start().line - open.start().line).saturating_sub(1);
        if lines > FUNCTION_LINES {
            self.findings.push(self.source.finding(
                name.span().start().line,
                format!("the body of `{name}` has {lines} lines, {FUNCTION_LINES} is the limit"),
                "Give its steps names and functions of their own.",
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<Finding> {
        let source = Source::new("a.rs", text);
        functions(&source, &syn::parse_file(text).unwrap())
    }

    #[test]
    fn six_hundred_lines_pass_and_one_more_does_not() {
        assert!(file(&Source::new("a.rs", &"\n".repeat(600))).is_none());
        let finding = file(&Source::new("a.rs", &"\n".repeat(601))).unwrap();
        assert!(finding.rule.contains("601 lines") && finding.line == 601);
    }

    #[test]
    fn seventy_lines_pass_and_one_more_does_not() {
        let body = |lines: usize| "\n".repeat(lines);
        assert!(findings(&format!("fn fits() {{\n{}}}", body(70))).is_empty());
        for (holder, name) in [("", "free"), ("impl A {\n", "method"), ("trait A {\n", "default")] {
            let end = if holder.is_empty() { "" } else { "}" };
            let found = findings(&format!("{holder}async fn {name}() {{\n{}}}\n{end}", body(71)));
            assert_eq!(found.len(), 1, "{name}");
            assert!(found[0].rule.contains(&format!("`{name}` has 71 lines")));
            assert_eq!(found[0].line, if holder.is_empty() { 1 } else { 2 });
        }
    }

    #[test]
    fn tests_and_nested_functions_count_but_macro_definitions_do_not() {
        let long = "\n".repeat(80);
        assert_eq!(findings(&format!("mod tests {{ #[test] fn t() {{\n{long}}} }}")).len(), 1);
        assert_eq!(findings(&format!("fn outer() {{ fn inner() {{\n{long}}} }}")).len(), 2);
        assert!(findings(&format!("macro_rules! m {{ () => {{ fn f() {{\n{long}}} }} }}")).is_empty());
    }
}
