//! The change as JSON, for programs. Nothing is cut off; fields are added and
//! never change their meaning.

use serde_json::{Value, json};

use super::{
    Audience, ConsumerChange, Effect, Presence, RouteAccess, RouteChange, RouteId, RouteView,
    Target, Traffic,
};

impl Traffic {
    /// `closed`, `routes`, `services`, `consumers` and `toldByRoute`, all of
    /// them always there.
    pub fn to_json(&self) -> Value {
        let services = self.services.iter().map(|change| {
            json!({
                "service": change.service,
                "before": change.before,
                "after": change.after,
            })
        });
        let routes = self.routes.iter().map(|change| {
            let what = change.what(self.is_told_by_route);
            route_change(change, &what)
        });
        json!({
            "closed": {"before": self.is_closed.0, "after": self.is_closed.1},
            "routes": routes.collect::<Vec<_>>(),
            "services": services.collect::<Vec<_>>(),
            "consumers": self.consumers.iter().map(consumer_change).collect::<Vec<_>>(),
            "toldByRoute": self.is_told_by_route,
        })
    }
}

impl RouteId {
    /// `name`, `host`, `path` and `conditions`.
    pub fn to_json(&self) -> Value {
        json!({
            "name": &*self.name,
            "host": &*self.host,
            "path": self.path,
            "conditions": self.conditions,
        })
    }
}

impl RouteAccess {
    /// `route` and `access`.
    pub fn to_json(&self) -> Value {
        json!({"route": self.route.to_json(), "access": access(&self.audience)})
    }
}

fn route_change(change: &RouteChange, what: &[String]) -> Value {
    let kind = match (&change.before, &change.after) {
        (None, _) => "appears",
        (_, None) => "vanishes",
        _ => "changes",
    };
    json!({
        "change": kind,
        "route": change.route.to_json(),
        "before": change.before.as_ref().map(view),
        "after": change.after.as_ref().map(view),
        "what": what,
    })
}

fn view(view: &RouteView) -> Value {
    json!({
        "access": access(&view.audience),
        "targets": view.targets.iter().map(target).collect::<Vec<_>>(),
        "upstreamHost": view.upstream_host,
        "policy": view.policy,
    })
}

/// Every consumer is not listed: there may be very many, on every route.
fn access(audience: &Audience) -> Value {
    let mut access = json!({"kind": audience.kind()});
    match audience {
        Audience::Consumers(names) => {
            access["consumers"] = names.iter().map(|name| Value::from(&**name)).collect();
        }
        Audience::Nobody(reason) => access["reason"] = Value::from(&**reason),
        Audience::Anybody | Audience::AnyKey | Audience::EveryConsumer(_) => {}
    }
    access
}

fn target(target: &Target) -> Value {
    json!({
        "service": target.service.as_deref(),
        "weight": target.weight,
        "closed": target.closed.as_deref(),
        "plugins": target.effects.iter().map(|e| effect(e)).collect::<Vec<_>>(),
    })
}

fn effect(effect: &Effect) -> Value {
    let destination = &effect.destination;
    let provider = destination.provider.as_ref();
    let models = destination.models.iter();
    let models = models.map(|(asked, name)| (asked.to_string(), Value::from(&**name)));
    json!({
        "plugin": &*effect.plugin,
        "provider": provider.map(|(id, kind)| json!({"id": id, "type": kind})),
        "models": models.collect::<serde_json::Map<_, _>>(),
    })
}

fn consumer_change(change: &ConsumerChange) -> Value {
    let presence = match change.presence {
        Presence::Stays => "stays",
        Presence::Comes => "comes",
        Presence::Goes => "goes",
    };
    json!({
        "consumers": change.consumers.iter().map(|name| &**name).collect::<Vec<_>>(),
        "presence": presence,
        "credentialsChange": change.has_other_credentials,
        "gains": change.gains.iter().map(|route| route.to_json()).collect::<Vec<_>>(),
        "loses": change.loses.iter().map(|route| route.to_json()).collect::<Vec<_>>(),
    })
}
