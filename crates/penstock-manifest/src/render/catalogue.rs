//! The built-in plugins that the console's own features use
//! (Higress console: plugins.properties and plugins/*/spec.yaml). A
//! description stands where it is known.

use super::object::{Draft, flag, int, text};
use crate::node::Node;
use crate::resource::Resource;

/// One plugin of the console's catalogue.
pub(super) struct PluginRow {
    pub(super) name: &'static str,
    pub(super) label_version: &'static str,
    pub(super) image_tag: &'static str,
    pub(super) category: &'static str,
    pub(super) phase: &'static str,
    pub(super) priority: i64,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) icon: &'static str,
}

const AI_ICON: &str =
    "https://img.alicdn.com/imgextra/i1/O1CN018iKKih1iVx287RltL_!!6000000004419-2-tps-42-42.png";
const AUTH_ICON: &str =
    "https://img.alicdn.com/imgextra/i4/O1CN01BPFGlT1pGZ2VDLgaH_!!6000000005333-2-tps-42-42.png";

const fn ai(name: &'static str, title: &'static str, priority: i64) -> PluginRow {
    PluginRow {
        name,
        label_version: "2.0.1",
        image_tag: "2.0.1",
        category: "ai",
        phase: "UNSPECIFIED_PHASE",
        priority,
        title,
        description: "",
        icon: AI_ICON,
    }
}

pub(super) const AI_PROXY: PluginRow = PluginRow {
    description: "Provide unified OpenAI API compatible interface to call different AI service providers.",
    ..ai("ai-proxy", "AI Proxy", 100)
};
pub(super) const AI_STATISTICS: PluginRow = ai("ai-statistics", "AI Statistics", 900);
pub(super) const KEY_AUTH: PluginRow = PluginRow {
    name: "key-auth",
    label_version: "1.0.0",
    image_tag: "2.0.0",
    category: "auth",
    phase: "AUTHN",
    priority: 310,
    title: "Key Auth",
    description: "Authentication based on API Key.",
    icon: AUTH_ICON,
};
pub(super) const MODEL_MAPPER: PluginRow =
    PluginRow { phase: "AUTHN", ..ai("model-mapper", "AI Model Mapper", 800) };
pub(super) const MODEL_ROUTER: PluginRow =
    PluginRow { phase: "AUTHN", ..ai("model-router", "AI Model Router", 900) };

/// What a plugin is configured with.
pub(super) struct Config {
    pub(super) default: Option<Node>,
    pub(super) rules: Vec<Node>,
    pub(super) fail_strategy: &'static str,
}

impl PluginRow {
    /// The WasmPlugin that the console keeps to itself.
    pub(super) fn internal(&self, config: Config) -> Resource {
        self.resource(&format!("{}.internal", self.name), config)
    }

    /// The WasmPlugin that the console's plugin pages show.
    pub(super) fn user_visible(&self, config: Config) -> Resource {
        self.resource(&format!("{}-{}", self.name, self.label_version), config)
    }

    fn resource(&self, name: &str, config: Config) -> Resource {
        let mut draft = Draft::new("WasmPlugin", name)
            .label("higress.io/wasm-plugin-built-in", "true")
            .label("higress.io/wasm-plugin-category", self.category)
            .label("higress.io/wasm-plugin-name", self.name)
            .label("higress.io/wasm-plugin-version", self.label_version)
            .annotation("higress.io/wasm-plugin-title", self.title);
        if !self.description.is_empty() {
            draft = draft.annotation("higress.io/wasm-plugin-description", self.description);
        }
        draft = draft.annotation("higress.io/wasm-plugin-icon", self.icon);
        let is_disabled = config.default.is_none();
        let mut spec = Vec::new();
        spec.extend(config.default.map(|default| ("defaultConfig", default)));
        spec.push(("defaultConfigDisable", flag(is_disabled)));
        spec.push(("failStrategy", text(config.fail_strategy)));
        spec.push(("imagePullPolicy", text("UNSPECIFIED_POLICY")));
        spec.push(("matchRules", super::object::list(config.rules)));
        spec.push(("phase", text(self.phase)));
        spec.push(("priority", int(self.priority)));
        let image = format!(
            "oci://higress-registry.cn-hangzhou.cr.aliyuncs.com/plugins/{}:{}",
            self.name, self.image_tag
        );
        spec.push(("url", text(image)));
        draft.finish([("spec", super::object::map(spec))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::console_plugin::CATALOGUE;

    #[test]
    fn versions_are_those_of_the_catalogue() {
        for row in [&AI_PROXY, &AI_STATISTICS, &KEY_AUTH, &MODEL_MAPPER, &MODEL_ROUTER] {
            let known = (row.name, row.label_version, row.image_tag);
            assert!(CATALOGUE.contains(&known), "{}", row.name);
        }
    }
}
