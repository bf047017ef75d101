//! SPDX expressions, as far as manifests use them: names, `WITH`, `AND`, `OR` and brackets.

/// Returns true if an expression can be met with allowed licences only. `allowed` is asked for `NAME` or `NAME WITH EXCEPTION`.
/// An expression of another form is not met. The old form `A/B` means `A OR B`.
pub(crate) fn is_met(expression: &str, allowed: &mut dyn FnMut(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &tokens[..];
    let met = alternatives(&mut rest, allowed);
    met == Some(true) && rest.is_empty()
}

/// Both sides are always read, so that `allowed` is asked for each licence of the expression.
fn alternatives(rest: &mut &[&str], allowed: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
    let mut met = together(rest, allowed)?;
    while take(rest, "OR") {
        met |= together(rest, allowed)?;
    }
    Some(met)
}

fn together(rest: &mut &[&str], allowed: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
    let mut met = one(rest, allowed)?;
    while take(rest, "AND") {
        met &= one(rest, allowed)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str], allowed: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
    if take(rest, "(") {
        let met = alternatives(rest, allowed)?;
        return take(rest, ")").then_some(met);
    }
    let (name, after) = rest.split_first()?;
    *rest = after;
    if ["AND", "OR", "WITH", ")"].contains(name) {
        return None;
    }
    if take(rest, "WITH") {
        let (exception, after) = rest.split_first()?;
        *rest = after;
        return Some(allowed(&format!("{name} WITH {exception}")));
    }
    Some(allowed(name))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_met;

    fn met(expression: &str) -> bool {
        is_met(expression, &mut |name| {
            ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&name)
        })
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(met("MIT"));
        assert!(met("GPL-3.0 OR MIT"));
        assert!(met("GPL-3.0/MIT"));
        assert!(!met("GPL-3.0 OR MPL-2.0"));
    }

    #[test]
    fn all_licences_of_a_conjunction_must_be_allowed() {
        assert!(met("(GPL-3.0 OR MIT) AND Zlib"));
        assert!(!met("MIT AND GPL-3.0"));
        assert!(!met("GPL-3.0 AND MIT OR GPL-2.0"));
    }

    #[test]
    fn a_licence_with_an_exception_is_another_licence() {
        assert!(met("Apache-2.0 WITH LLVM-exception"));
        assert!(!met("Apache-2.0"));
        assert!(!met("MIT WITH LLVM-exception"));
    }

    #[test]
    fn what_cannot_be_read_is_not_met() {
        for broken in ["", "MIT OR", "(MIT", "MIT MIT", "OR MIT", "MIT)", "MIT WITH"] {
            assert!(!met(broken), "{broken}");
        }
    }
}
