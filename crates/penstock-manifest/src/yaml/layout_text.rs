//! A [`Layout`] as text: what `render` prints, with comments.

use super::layout::{Content, Element, Id, Layout};
use super::render::{inline, push_indent, push_key};

impl Layout {
    /// The text of the document, without its marker.
    pub(super) fn text(&self) -> String {
        let mut printer = Printer { layout: self, out: String::new(), is_opening: true };
        printer.above(0, 0);
        printer.block(0, 0);
        printer.out
    }
}

struct Printer<'l> {
    layout: &'l Layout,
    out: String,
    /// Whether nothing was printed since a collection began.
    is_opening: bool,
}

impl Printer<'_> {
    fn lines(&mut self, lines: &[Box<str>], indent: usize) {
        for line in lines {
            if !line.is_empty() {
                push_indent(&mut self.out, indent);
                self.out.push_str(line);
                self.out.push('\n');
                self.is_opening = false;
            } else if !self.is_opening && !self.out.ends_with("\n\n") {
                // A second blank line could also become part of a text.
                self.out.push('\n');
            }
        }
    }

    /// Prints what stands above an element. The first part of an item shares
    /// the item's line.
    fn above(&mut self, id: Id, indent: usize) {
        let Some(element) = self.element(id) else { return };
        self.lines(&element.above, indent);
        if let (None, Some(&first)) = (&element.key, element.content.parts().first()) {
            self.above(first, indent);
        }
    }

    /// Prints a value whose first line is already indented, and what stands
    /// above it printed.
    fn block(&mut self, id: Id, indent: usize) {
        let Some(element) = self.element(id) else { return };
        self.is_opening = false;
        for (index, &part) in element.content.parts().iter().enumerate() {
            if index > 0 {
                self.above(part, indent);
                push_indent(&mut self.out, indent);
            }
            match self.element(part).and_then(|part| part.key.as_deref()) {
                Some(key) => {
                    push_key(&mut self.out, key, indent);
                    self.entry_value(part, indent);
                }
                None => {
                    self.out.push_str("- ");
                    self.block(part, indent + 2);
                }
            }
        }
        if element.content.parts().is_empty() {
            // An item's text is indented below its dash, a root's by two.
            self.leaf(element, indent.max(2));
        }
        self.lines(&element.below, indent);
    }

    fn entry_value(&mut self, id: Id, indent: usize) {
        let Some(element) = self.element(id) else { return };
        let Some(&first) = element.content.parts().first() else {
            self.out.push(' ');
            return self.leaf(element, indent + 2);
        };
        let indent = match element.content {
            Content::List(_) => indent,
            _ => indent + 2,
        };
        self.behind(element);
        self.out.push('\n');
        self.is_opening = true;
        self.above(first, indent);
        push_indent(&mut self.out, indent);
        self.block(id, indent);
    }

    fn leaf(&mut self, element: &Element, indent: usize) {
        let start = self.out.len();
        match &element.content {
            Content::Leaf(node) => inline(&mut self.out, node, indent),
            Content::Bare(spelling) => {
                self.out.push_str(spelling);
                self.out.push('\n');
            }
            Content::Map(_) => self.out.push_str("{}\n"),
            Content::List(_) => self.out.push_str("[]\n"),
        }
        // The comment goes to the first line: that of a block's header.
        let rest = self.out.split_off(start);
        let (first, rest) = rest.split_once('\n').unwrap_or((&rest, ""));
        self.out.push_str(first);
        self.behind(element);
        self.out.push('\n');
        self.out.push_str(rest);
    }

    fn behind(&mut self, element: &Element) {
        if let Some(comment) = &element.behind {
            self.out.push(' ');
            self.out.push_str(comment);
        }
    }
}

impl<'l> Printer<'l> {
    fn element(&self, id: Id) -> Option<&'l Element> {
        self.layout.elements.get(id)
    }
}
