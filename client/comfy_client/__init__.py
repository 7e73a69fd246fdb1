"""The reference client of the ComfyUI API.

    from comfy_client import Client

    with Client("http://127.0.0.1:8188") as client:
        result = client.run(workflow, timeout=300)
        for image in result.images:
            image.save("out")

`Client` and `AsyncClient` are the same but for `await`. What they take and raise:

    client.run(workflow, *, path="auto", timeout=None, seed=None, front=False, number=None, prompt_id=None,
               extra_data=None, workflow_metadata=None, targets=None, poll_interval=None, on_progress=None) -> Result
    client.submit(workflow, *, the same without timeout and on_progress) -> Job
    job.events()           iterator of the types in `comfy_client.events`; ends after `Ended`
    job.progress()         a `Progress` snapshot: phase, fraction, nodes, position, previews
    job.on_progress(fn)    fn(Progress) at each change; returns a function that takes it off
    job.wait(timeout), job.result(timeout), job.status(), job.cancel()
"""
