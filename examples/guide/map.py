"""The guide's block on `.map()`: to the letter below the line, which gives it the app that it speaks of."""

import modal

app = modal.App("map")

# ----------------------------------------------------------------------------------------------------
@app.function()
def process_item(item: int) -> int:
    return item * 2

@app.local_entrypoint()
def main():
    items = list(range(1000))
    
    # Process all items in parallel
    results = list(process_item.map(items))
    print(f"Processed {len(results)} items")
