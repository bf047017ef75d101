//! The page at `/`: a member and its cluster, live, for people who would rather look. It asks nothing but this port.

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    pub(super) kind: &'static str,
    pub(super) content: &'static str,
}

static FILES: [File; 3] = [
    File { path: "/", kind: "text/html; charset=utf-8", content: include_str!("page/page.html") },
    File {
        path: "/page.js",
        kind: "text/javascript; charset=utf-8",
        content: include_str!("page/page.js"),
    },
    File {
        path: "/page.css",
        kind: "text/css; charset=utf-8",
        content: include_str!("page/page.css"),
    },
];

/// What a browser may do with an answer of this port: run the script of the page and ask this port. So nothing that a name or
/// an event holds runs as a script, and no other page can frame this one.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the file of the page at this path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_no_other_server_and_has_no_inline_script_or_style() {
        for file in &FILES {
            assert!(
                !file.content.contains("http://www") && !file.content.contains("https://"),
                "{}",
                file.path
            );
            assert!(!file.content.contains("innerHTML"), "{}: a name could be markup", file.path);
        }
        let page = FILES[0].content;
        assert!(
            !page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick=")
        );
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=\"page.js\">").count()
        );
    }
}
