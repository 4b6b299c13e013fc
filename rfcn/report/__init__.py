"""The report of a test: one HTML page that says what the detector finds, what it mistakes and what that costs.

    analysis.py   every detection judged: a hit, or one of five kinds of errors; what each kind costs; arrays alone
    page.py       the page and its drawings; the pictures with the most mistakes, truth and detections side by side
    command.py    `rfcn report`, and `rfcn test --report DIR`
"""
