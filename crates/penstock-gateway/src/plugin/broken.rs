//! What runs in place of a plugin that cannot: it answers 503.

use crate::error::{ErrorKind, GatewayError};
use crate::plugin::{Access, Flow, Plugin};
use crate::reply::Reply;
use crate::request::RequestContext;

/// A plugin whose configuration cannot be used, or that penstock does not
/// have, where requests must not pass without it.
pub struct Broken;

impl Plugin for Broken {
    fn on_request<'a>(&'a self, _cx: &'a mut RequestContext) -> Flow<'a> {
        Flow::Reply(Box::new(Reply::from(&GatewayError::new(ErrorKind::PluginBroken))))
    }

    fn access(&self) -> Option<Access<'_>> {
        Some(Access::Closed)
    }

    fn kind(&self) -> &'static str {
        "503"
    }
}
