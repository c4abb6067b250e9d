//! What can go wrong with a request or an answer, as data.

/// A request that cannot be sent on, or an answer that cannot be understood.
/// The text is meant for the client; it never holds a credential or an
/// upstream address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// The client's body is not what the API wants.
    #[error("{0}")]
    InvalidRequest(String),
    /// The provider does not have this API.
    #[error("this provider does not support this API")]
    UnsupportedApi,
    /// The provider's answer cannot be read.
    #[error("the provider's answer could not be read")]
    InvalidResponse,
}

/// A provider whose configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key path inside the provider object, such as `modelMapping["~("]`;
    /// segments as `Cursor` writes them. Empty for the object itself.
    pub path: String,
    /// What is wrong, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What kind of mistake, for the diagnostic's code.
    pub kind: ConfigErrorKind,
}

/// The kinds of [`ConfigError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigErrorKind {
    /// No such provider type.
    UnknownType,
    /// A type of Higress that is not implemented yet.
    TypeNotSupported,
    /// A model mapping rule.
    ModelMapping,
    /// Anything else.
    Invalid,
}
