//! Names of other objects, `[NAMESPACE/]NAME`
//! (Higress: pkg/ingress/kube/util, `SplitNamespacedName`).

/// A Secret that an annotation names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretRef {
    /// The namespace; that of the Ingress where none is written.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

/// A Service that an annotation names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// The namespace; that of the Ingress where none is written.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

impl SecretRef {
    pub(super) fn parse(text: &str, namespace: &str) -> Option<Self> {
        let (namespace, name) = split(text, namespace)?;
        Some(Self { namespace: namespace.into(), name: name.into() })
    }
}

impl ServiceRef {
    pub(super) fn parse(text: &str, namespace: &str) -> Option<Self> {
        let (namespace, name) = split(text, namespace)?;
        Some(Self { namespace: namespace.into(), name: name.into() })
    }
}

fn split<'a>(text: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    let (written, name) = text.split_once('/').unwrap_or((namespace, text));
    (is_name(written) && is_name(name)).then_some((written, name))
}

/// Whether Kubernetes could have an object of this name.
fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(is_allowed)
}
