/// Text as HTML and SVG show it.
func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        default:
            // What no document may have (XML 1.0, 2.2).
            let isControl = scalar.value < 0x20 && scalar != "\n" && scalar != "\t" || scalar.value == 0x7F
            result.unicodeScalars.append(isControl ? "\u{FFFD}" : scalar)
        }
    }
    return result
}

/// A coordinate.
func coordinate(_ value: Double) -> String { Quantity.fixed(value, 1) }

/// How an entry is drawn: the same in all plots of a page.
struct Look {
    /// The class that gives it its colour.
    let style: String
    /// Its mark in a plot of lines, at a point.
    private let shape: Int

    /// - Parameter index: among the entries of its kind.
    init(_ entry: Report.Entry, index: Int) {
        // Known drivers have their colours on every page, in the order in which they are preferred.
        let known = ["btrfs", "devicemapper", "zfs", "overlay2", "aufs", "vfs"].firstIndex(of: entry.name)
        switch entry.kind {
        case .driver: (style, shape) = ("s\(known ?? index % 6)", known ?? index)
        // Four kinds of lines and five marks: twenty peers are told from each other.
        case .peer: (style, shape) = ("peer p\(index % 4)", index)
        case .floor: (style, shape) = ("floor", index)
        }
    }

    func mark(_ x: Double, _ y: Double) -> String {
        let (left, right, top, bottom) = (x - 4, x + 4, y - 4, y + 4)
        func polygon(_ points: [(Double, Double)]) -> String {
            let text = points.map { "\(coordinate($0.0)),\(coordinate($0.1))" }.joined(separator: " ")
            return "<polygon class=\"mark\" points=\"\(text)\"/>"
        }
        switch shape % 5 {
        case 0: return "<circle class=\"mark\" cx=\"\(coordinate(x))\" cy=\"\(coordinate(y))\" r=\"3.8\"/>"
        case 1: return polygon([(left, top), (right, top), (right, bottom), (left, bottom)])
        case 2: return polygon([(x, top - 1), (right + 0.5, bottom), (left - 0.5, bottom)])
        case 3: return polygon([(x, top - 1), (right + 1, y), (x, bottom + 1), (left - 1, y)])
        default: return polygon([(left - 0.5, top), (right + 0.5, top), (x, bottom + 1)])
        }
    }
}
